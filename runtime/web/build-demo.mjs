/**
 * Builds the page: `node build-demo.mjs [FOLDER]`, by default `page` beside this file, which is
 * new, empty, or of an earlier build. Any server of files can serve it.
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

import { outputFolder } from "./output-folder.mjs";

const FOR_WEBGPU = "ort-wasm-simd-threaded.asyncify.wasm"; // large: kept for use without a network only where it is used

const here = dirname(fileURLToPath(import.meta.url));
const demo = join(here, "demo");
const target = outputFolder(process.argv[2] ?? join(here, "page"), "live-processor.js");
const python = join(here, "..", "tisdiss_rt");
const require = createRequire(import.meta.url);
const tsc = join(dirname(require.resolve("typescript")), "tsc.js");

/** Bundle scripts of the page, with constants that they get. */
async function bundle(names, define = {}) {
  await build({
    entryPoints: names.map((name) => join(demo, `${name}.ts`)),
    outdir: target,
    define,
    bundle: true,
    splitting: true, // what is not needed at first is fetched later
    format: "esm",
    target: "es2022",
    platform: "browser",
    minify: true,
    logLevel: "warning",
  });
}

/** Copy what a browser needs of a bundle: the manifest, and the graphs in fp32. */
function copyBundle(name) {
  const { graphs, parts } = JSON.parse(readFileSync(join(python, "bundles", name, "manifest.json"), "utf-8"));
  const used = [...Object.values(graphs), ...parts.map((part) => part.graph)].filter((graph) => graph !== null);
  mkdirSync(join(target, "bundles", name), { recursive: true });
  for (const path of ["manifest.json", ...used.map((graph) => graph.files.fp32.path)]) {
    copyFileSync(join(python, "bundles", name, path), join(target, "bundles", name, path));
  }
}

execFileSync(process.execPath, [tsc, "-p", demo], { stdio: "inherit" });
await bundle(["page", "worker", "live-processor"]);
for (const file of ["index.html", "style.css"]) copyFileSync(join(demo, file), join(target, file));
for (const file of ["ort-wasm-simd-threaded.wasm", FOR_WEBGPU]) {
  copyFileSync(require.resolve(`onnxruntime-web/${file}`), join(target, file));
}
copyFileSync(join(python, "example", "two_voices.wav"), join(target, "two_voices.wav"));
copyBundle("edge-16k");
copyBundle("live-16k");

const entries = readdirSync(target, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
const files = entries.map((entry) => join(entry.parentPath ?? entry.path, entry.name)).sort();
const hash = createHash("sha256");
for (const file of files) hash.update(readFileSync(file));
const names = ["./", ...files.map((file) => file.slice(target.length + 1).replaceAll("\\", "/"))];
await bundle(["offline"], {
  FILES: JSON.stringify(names.filter((name) => name !== FOR_WEBGPU)),
  LATER: JSON.stringify(FOR_WEBGPU),
  VERSION: JSON.stringify(hash.digest("hex")),
});
