/**
 * Uses the page as people do: `node demo.mjs PAGE OUT SOUND` prints as JSON what it showed, and leaves voices and pictures
 * in the folder OUT. SOUND is a file to choose.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { openChromium, serve } from "./serving.mjs";

const MOST_MS = 180_000; // for everything

const [, , folder, out, sound] = process.argv;
setTimeout(() => process.exit(3), MOST_MS).unref();
const address = await serve([["/", folder]]);
const browser = await openChromium("--autoplay-policy=no-user-gesture-required");
const found = { errors: [] };

const statusOf = (page) => page.locator("#status").textContent();

/** Wait for what the page says in the end. */
async function said(page, text) {
  await page.locator("#status", { hasText: text }).waitFor();
  return statusOf(page);
}

/** Move a slider with the keyboard to a value, and wait until the sound is separated again. */
async function moved(page, name, key, times) {
  await page.locator(`#${name}`).focus();
  for (let i = 0; i < times; ++i) await page.keyboard.press(key);
}

try {
  const page = await browser.newPage({ viewport: { width: 1000, height: 1000 } });
  page.setDefaultTimeout(MOST_MS / 2);
  page.on("pageerror", (error) => found.errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && found.errors.push(message.text()));
  const fetched = new Set();
  page.on("request", (request) => fetched.add(new URL(request.url()).pathname));
  await page.goto(`${address}/`);
  found.example = await said(page, / in [\d.]+ s; /);
  found.fetched = [...fetched];
  found.runtime = await page.locator("#runtime").textContent();
  for (const voice of [1, 2]) {
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      page.getByText(`Download voice ${voice}`).click(),
    ]);
    await file.saveAs(join(out, `${voice}.wav`));
    found[`file ${voice}`] = file.suggestedFilename();
  }
  await page.locator("#depth-told", { hasText: " ms " }).waitFor();
  found.depth = await page.locator("#depth-told").textContent();
  await page.locator("#runtime", { hasText: "WebGPU" }).waitFor();
  found["chosen runtime"] = await page.locator("#runtime").textContent();
  await page.screenshot({ path: join(out, "wide.png") });

  await page.locator("h1").click();
  await page.keyboard.press("2");
  found.heard = await page.locator(".track.heard label").textContent();
  await page.keyboard.press(" ");
  await page.waitForFunction(() => document.querySelector("#position").valueAsNumber > 0.5);
  found.playing = await page.locator("#play").textContent();
  await page.keyboard.press(" ");
  found.paused = await page.locator("#play").textContent();
  found.position = Number(await page.locator("#position").inputValue());

  await moved(page, "depth", "ArrowLeft", 3);
  await said(page, "Separating");
  found.shallow = await said(page, / in [\d.]+ s; /);
  found["shallow depth"] = await page.locator("#depth-told").textContent();
  found["position afterwards"] = Number(await page.locator("#position").inputValue());

  await page.locator("#file").setInputFiles({ name: "broken.mp3", mimeType: "audio/mpeg", buffer: Buffer.from("no") });
  found.broken = await said(page, "cannot be used");
  await page.locator("#file").setInputFiles(sound);
  found.chosen = await said(page, / in [\d.]+ s/);
  await page.locator("#example").click();
  found.again = await said(page, /example: .* in [\d.]+ s/);

  await page.locator("#record").click();
  found.refused = await said(page, "no microphone");

  await page.locator("input[value=budget]").check();
  await page.locator("#budget-told", { hasText: "windows" }).waitFor();
  found.budget = await page.locator("#budget-told").textContent();

  const damaged = await browser.newPage();
  await damaged.route("**/block.onnx", async (route) => {
    const body = await (await route.fetch()).body();
    body[body.length - 1] ^= 1;
    await route.fulfill({ body });
  });
  await damaged.goto(`${address}/`);
  found.damaged = await said(damaged, "cannot be loaded");

  await page.setViewportSize({ width: 360, height: 800 });
  await page.emulateMedia({ colorScheme: "dark" });
  found.width = await page.evaluate(() => document.documentElement.scrollWidth);
  await page.screenshot({ path: join(out, "narrow.png"), fullPage: true });

  await page.evaluate(async () => (await navigator.serviceWorker.ready).scope);
  await page.context().setOffline(true);
  await page.reload();
  found.offline = await said(page, "Separating");
  found["fetched in the end"] = [...fetched];
} finally {
  await writeFile(join(out, "found.json"), JSON.stringify(found, null, 1));
  await browser.close();
}
console.log(JSON.stringify(found));
