/**
 * Live sound that cannot begin, that fails, and that goes on in the background: `node live-ends.mjs PAGE SOUND` prints as
 * JSON what the page said. Chromium's own microphone plays the file SOUND.
 */
import { microphoneThatPlays, openChromium, serve } from "./serving.mjs";

const [, , folder, sound] = process.argv;
const MOST_MS = 180_000; // for everything
setTimeout(() => process.exit(3), MOST_MS).unref();
const address = await serve([["/", folder]]);
const browser = await openChromium(...microphoneThatPlays(sound));
const found = { errors: [] };
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(MOST_MS);
  page.on("pageerror", (error) => found.errors.push(String(error)));
  await page.addInitScript(() => {
    const devices = navigator.mediaDevices;
    const { getUserMedia } = devices;
    devices.getUserMedia = async (...options) => (globalThis.microphone = await getUserMedia.apply(devices, options));
    const { AudioContext, MediaRecorder } = globalThis;
    globalThis.whole = { AudioContext, MediaRecorder };
  });
  await page.goto(`${address}/`);
  const button = page.locator("#live");
  const status = page.locator("#live-status");
  const microphone = () => page.evaluate(() => globalThis.microphone.getTracks().map((track) => track.readyState).join());
  const ended = async (text) => {
    await page.locator("#live-status", { hasText: text }).waitFor();
    await page.locator("#live:not([disabled])", { hasText: "Go live" }).waitFor();
    return [await status.textContent(), await microphone()];
  };
  const begin = async () => {
    await button.click();
    await page.locator("#live", { hasText: "Stop" }).waitFor();
  };
  const steps = async () => Number((await page.locator("#live-late").textContent()).match(/of (\d+) steps/)?.[1] ?? 0);
  const goesOn = async () => {
    const before = await steps();
    while ((await steps()) < before + 20) await page.waitForTimeout(100);
    return true;
  };
  /** Tell the page that it is `hidden` or `visible`: without a window, Chromium shows every tab. */
  const seen = (state) =>
    page.evaluate((value) => {
      Object.defineProperty(document, "visibilityState", { value, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, state);
  /** Let the name of a class stand for one that cannot be made; null for the one that it was. */
  const replace = ([name, why]) => {
    const broken = function () {
      throw new Error(why);
    };
    globalThis[name] = why === null ? globalThis.whole[name] : broken;
  };

  await page.evaluate(replace, ["MediaRecorder", "no room for a recording"]);
  await page.locator("#record").click();
  await page.locator("#status", { hasText: "no room" }).waitFor();
  found.recording = [await page.locator("#status").textContent(), await microphone()];

  await page.evaluate(replace, ["AudioContext", "no sound device"]);
  await button.click();
  found["no output"] = await ended("no sound device");
  await page.evaluate(replace, ["AudioContext", null]);

  await begin();
  found.live = [await status.textContent(), await microphone()];
  const worker = page.workers().at(-1);
  await worker.evaluate(() => {
    const now = performance.now;
    performance.now = () => {
      performance.now = now;
      throw new Error("the clock has stopped");
    };
  });
  found.failed = await ended("Live has ended");

  await begin();
  await page.evaluate(() => globalThis.microphone.getTracks()[0].dispatchEvent(new Event("ended")));
  found.unplugged = await ended("Live has ended");

  await page.evaluate(() => {
    const { AudioContext } = globalThis.whole;
    globalThis.AudioContext = class extends AudioContext {
      constructor(options) {
        super(options);
        globalThis.context = this;
      }
    };
  });
  await begin();
  await seen("hidden");
  found.background = await goesOn();
  await page.evaluate(() => globalThis.context.suspend());
  await page.locator("#live-status", { hasText: "stopped the sound" }).waitFor();
  found.suspended = await status.textContent();
  await seen("visible");
  await page.locator("#live-status", { hasText: "Live again" }).waitFor();
  found.resumed = await status.textContent();
  found["goes on"] = await goesOn();
  await button.click();
  await page.locator("#live:not([disabled])", { hasText: "Go live" }).waitFor();
  found.stopped = [await status.textContent(), await microphone()];
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
