/**
 * Builds the package that is published: `node build.mjs [FOLDER]`, by default `package` beside this file, which
 * is new, empty, or of an earlier build.
 *
 * The version is that of the Python package, and the bundles are its bundles.
 */

import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

import { outputFolder } from "./output-folder.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const target = outputFolder(process.argv[2] ?? join(here, "package"), join("dist", "node.js"));
const python = join(here, "..", "tisdiss_rt");

const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript")), "tsc.js");
const types = ["-p", here, "--declaration", "--emitDeclarationOnly", "--outDir", join(target, "dist")];
execFileSync(process.execPath, [tsc, ...types], { stdio: "inherit" });

for (const platform of ["node", "browser"]) {
  await build({
    entryPoints: [join(here, "src", `${platform}.ts`)],
    outfile: join(target, "dist", `${platform}.js`),
    bundle: true,
    format: "esm",
    target: "es2022",
    platform,
    external: ["onnxruntime-*"],
    sourcemap: true,
    logLevel: "warning",
  });
}

const { private: _, scripts: __, devDependencies, ...about } = JSON.parse(readFileSync(join(here, "package.json")));
const [, version] = /^__version__ = "(.*)"$/m.exec(readFileSync(join(python, "__init__.py"), "utf-8"));
const runtimes = Object.entries(devDependencies).filter(([name]) => name.startsWith("onnxruntime-"));
const entry = (platform) => ({ types: `./dist/${platform}.d.ts`, default: `./dist/${platform}.js` });
const published = {
  ...about,
  version,
  exports: {
    ".": { browser: entry("browser"), node: entry("node"), default: entry("browser") },
    "./bundles/*": "./bundles/*",
  },
  files: ["dist", "bundles"],
  peerDependencies: Object.fromEntries(runtimes),
  peerDependenciesMeta: Object.fromEntries(runtimes.map(([name]) => [name, { optional: true }])),
};
writeFileSync(join(target, "package.json"), `${JSON.stringify(published, null, 2)}\n`);
cpSync(join(python, "bundles"), join(target, "bundles"), { recursive: true });
copyFileSync(join(here, "README.md"), join(target, "README.md"));
copyFileSync(join(here, "..", "..", "LICENSE"), join(target, "LICENSE"));
