/**
 * Records and goes live with Chromium's own microphone, which plays a file: `node live.mjs PAGE OUT SOUND SECONDS` prints
 * as JSON what the page showed. What the headphones would get is kept as raw floats at 16 kHz in OUT/heard.f32.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { microphoneThatPlays, openChromium, serve } from "./serving.mjs";

const [, , folder, out, sound, seconds] = process.argv;
const MOST_MS = 120_000 + 1e3 * seconds; // for everything
setTimeout(() => process.exit(3), MOST_MS).unref();
const address = await serve([["/", folder]]);
const browser = await openChromium(...microphoneThatPlays(sound));
const found = { errors: [] };
try {
  const page = await browser.newPage({ viewport: { width: 1000, height: 1400 } });
  page.setDefaultTimeout(MOST_MS);
  page.on("pageerror", (error) => found.errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && found.errors.push(message.text()));
  // Keep what the worklet gives to the output.
  await page.addInitScript(() => {
    globalThis.kept = [];
    const connect = AudioWorkletNode.prototype.connect;
    AudioWorkletNode.prototype.connect = function (target) {
      const tap = this.context.createScriptProcessor(4096, 1, 1);
      tap.onaudioprocess = ({ inputBuffer }) => globalThis.kept.push(...inputBuffer.getChannelData(0));
      connect.call(this, tap).connect(this.context.destination);
      return connect.call(this, target);
    };
  });
  await page.goto(`${address}/`);
  await page.locator("#status", { hasText: "Separating" }).waitFor();
  await page.locator("#record").click();
  await page.locator("#record", { hasText: "Stop" }).waitFor();
  await page.waitForTimeout(1500);
  await page.locator("#record").click();
  await page.locator("#status", { hasText: / in [\d.]+ s; / }).waitFor();
  found.recording = await page.locator("#status").textContent();
  await page.locator("#live").click();
  await page.locator("#live-status", { hasText: "Live." }).waitFor();
  await page.waitForFunction((count) => globalThis.kept.length > count, 16000 * seconds);
  for (const id of ["live-status", "levels", "live-depth", "live-late", "live-latency"]) {
    found[id] = await page.locator(`#${id}`).textContent();
  }
  await page.screenshot({ path: join(out, "live.png"), fullPage: true });
  await page.locator("#live").click();
  await page.locator("#live", { hasText: "Go live" }).waitFor();
  found.pressed = await page.locator("#live").getAttribute("aria-pressed");
  const heard = await page.evaluate(() => globalThis.kept);
  await writeFile(join(out, "heard.f32"), new Uint8Array(Float32Array.from(heard).buffer));
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
