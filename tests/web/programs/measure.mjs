/**
 * Measures the page: `node measure.mjs PAGE SOUND SECONDS` prints as JSON how soon it can be used, what it fetches for
 * that, and how it is live for so long; then, how its queue gets over a worker that is held up.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { microphoneThatPlays, openChromium, serve } from "./serving.mjs";

const HELD_UP_MS = 300;
const AFTERWARDS = 6; // seconds

const [, , folder, sound, seconds] = process.argv;
const MOST_MS = 120_000 + 1e3 * seconds;
setTimeout(() => process.exit(3), MOST_MS).unref();
const address = await serve([["/", folder]]);
const browser = await openChromium(...microphoneThatPlays(sound));
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(MOST_MS);
  const fetched = new Set();
  page.on("request", (request) => fetched.add(new URL(request.url()).pathname));
  const beganMs = performance.now();
  const sinceS = () => (performance.now() - beganMs) / 1e3;
  await page.goto(`${address}/`);
  await page.locator("#status", { hasText: "Separating" }).waitFor();
  const usableS = sinceS();
  await page.locator("#status", { hasText: / in [\d.]+ s; / }).waitFor();
  const separatedS = sinceS();
  const files = [...fetched].map((path) => join(folder, path === "/" ? "index.html" : path));
  const contents = await Promise.all(files.map((file) => readFile(file)));
  const bytes = contents.reduce((total, content) => total + gzipSync(content).length, 0);
  await page.locator("#depth-told", { hasText: " ms " }).waitFor(); // the machine is measured, and now does nothing

  /** What the page shows, as numbers. */
  const numbers = async () => {
    const [depth, late, latency] = await Promise.all(
      ["depth", "late", "latency"].map((name) => page.locator(`#live-${name}`).textContent()),
    );
    const [misses, steps, , lateChunks, dropped] = late.match(/[\d.]+/g).map(Number);
    const [latencyMs, , waitingMs] = latency.match(/[\d.]+/g).map(Number);
    return { meanDepth: Number(depth.match(/\d+\.\d+/)[0]), misses, steps, lateChunks, dropped, latencyMs, waitingMs };
  };
  const watch = async (count) => {
    const found = [];
    for (let second = 0; second < count; ++second) {
      await page.waitForTimeout(1000);
      found.push(await numbers());
    }
    return found;
  };
  await page.locator("#live").click();
  await page.locator("#live", { hasText: "Stop" }).waitFor();
  const live = await watch(Number(seconds));
  await page.workers().at(-1).evaluate((ms) => {
    for (const beganMs = performance.now(); performance.now() < beganMs + ms; );
  }, HELD_UP_MS);
  const afterwards = await watch(AFTERWARDS);
  console.log(JSON.stringify({ usableS, separatedS, files: files.length, bytes, live, afterwards }));
} finally {
  await browser.close();
}
