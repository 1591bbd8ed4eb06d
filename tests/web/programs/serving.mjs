/** A server of files for pages under test, and a Chromium that opens them. */
import { createServer } from "node:http";
import { readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";

import { chromium } from "playwright-core";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".wav": "audio/wav",
};

/** Serve folders, each below a path such as `/` or `/bundle/`; returns the address. */
export async function serve(folders) {
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    for (const [prefix, folder] of folders) {
      const file = join(folder, path.slice(prefix.length), path.endsWith("/") ? "index.html" : "");
      if (!path.startsWith(prefix) || !(await stat(file).catch(() => undefined))?.isFile()) continue;
      response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
      response.end(await readFile(file));
      return;
    }
    response.writeHead(404).end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  return `http://127.0.0.1:${server.address().port}`;
}

/** Open Chromium without a window; its path comes from the environment variable CHROMIUM. */
export async function openChromium(...switches) {
  // Containers have no user name spaces, and little shared memory.
  const args = ["--no-sandbox", "--disable-dev-shm-usage", ...switches];
  return chromium.launch({ executablePath: process.env.CHROMIUM, args });
}

/** Switches that give Chromium WebGPU in software. */
export const WEBGPU_IN_SOFTWARE = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  "--use-vulkan=swiftshader",
];

/** Return the switches that give Chromium a microphone, allowed without asking, that plays a file. */
export function microphoneThatPlays(sound) {
  return [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-audio-capture=${sound}`,
    "--autoplay-policy=no-user-gesture-required",
  ];
}
