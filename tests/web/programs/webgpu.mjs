/**
 * What becomes of WebGPU in Chromium: `node webgpu.mjs TOY` prints as JSON what runs, why, and what was fetched, with no
 * adapter, with one in software, with one that passes for a graphics card, and with a device that is lost.
 */
import { fileURLToPath } from "node:url";

import { WEBGPU_IN_SOFTWARE, openChromium, serve } from "./serving.mjs";

const [, , toy] = process.argv;
const here = fileURLToPath(new URL(".", import.meta.url));
const ort = fileURLToPath(new URL("../../../node_modules/onnxruntime-web/dist/", import.meta.url));
const address = await serve([
  ["/bundle/", toy],
  ["/ort/", ort],
  ["/", here],
]);
const found = {};

/** Keep what a function returns in a page of its own, or its error, and whether the large build was fetched. */
async function keep(name, browser, call, before = () => {}) {
  const page = await browser.newPage();
  let isFetched = false;
  page.on("request", (request) => (isFetched ||= request.url().endsWith(".asyncify.wasm")));
  await page.addInitScript(before);
  await page.goto(`${address}/page.html`);
  await page.waitForFunction(() => globalThis.loadBundle !== undefined);
  await page.evaluate(() => (globalThis.mix = Float32Array.from({ length: 5000 }, (_, i) => 0.5 * Math.sin(i * i))));
  const result = await page.evaluate(call).catch((error) => error.message.split("\n")[0]);
  found[name] = [result, isFetched];
  await page.close();
}

const adapters = async () => (await navigator.gpu?.requestAdapter()) != null;
const choose = async () => {
  const separator = await Separator.open(await loadBundle("/bundle"));
  await separator.separate(mix);
  await separator.chooseProvider();
  const { sources } = await separator.separate(mix);
  return [separator.provider, separator.fallbackReason, sources.length];
};
const ask = async () => {
  const separator = await Separator.open(await loadBundle("/bundle"), { provider: "webgpu" });
  await separator.separate(mix);
  return separator.provider;
};
const lose = async () => {
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...options) {
    return (globalThis.device = await requestDevice.apply(this, options));
  };
  const separator = await Separator.open(await loadBundle("/bundle"), { provider: "webgpu" });
  const errors = [];
  for (let turn = 0; turn < 2; ++turn) {
    await separator
      .separate(mix, { onProgress: (doneS) => doneS > 0 && device.destroy() })
      .catch((error) => errors.push(`${error.name}: ${error.message}`));
  }
  return errors;
};
const passForCard = () => Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });

const without = await openChromium("--disable-gpu", "--disable-software-rasterizer");
try {
  await keep("without: adapters", without, adapters);
  await keep("without", without, choose);
  await keep("without, asked", without, ask);
} finally {
  await without.close();
}
const software = await openChromium(...WEBGPU_IN_SOFTWARE);
try {
  await keep("software: adapters", software, adapters);
  if (found["software: adapters"][0]) {
    await keep("software", software, choose);
    await keep("software, asked", software, ask);
    await keep("a card", software, choose, passForCard);
    await keep("lost", software, lose);
  }
} finally {
  await software.close();
}
console.log(JSON.stringify(found));
