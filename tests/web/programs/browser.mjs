/**
 * The same as conformance.mjs in Chromium, by onnxruntime-web on one thread, or on WebGPU in software:
 *
 *     [PROVIDER=webgpu] node browser.mjs BUNDLE MIX.f32 RUN OUT.f32 [RUN OUT.f32]...
 */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { WEBGPU_IN_SOFTWARE, openChromium, serve } from "./serving.mjs";

const [, , folder, path, ...pairs] = process.argv;
const here = fileURLToPath(new URL(".", import.meta.url));
const ort = fileURLToPath(new URL("../../../node_modules/onnxruntime-web/dist/", import.meta.url));
const address = await serve([
  ["/bundle/", folder],
  ["/ort/", ort],
  ["/", here],
]);
const mix = new Float32Array(Uint8Array.from(await readFile(path)).buffer);
const provider = process.env.PROVIDER ?? "wasm";
const browser = await openChromium(...(provider === "webgpu" ? WEBGPU_IN_SOFTWARE : []));
try {
  const page = await browser.newPage();
  await page.goto(`${address}/page.html`);
  await page.waitForFunction(() => globalThis.loadBundle !== undefined);
  await page.evaluate(
    async ([samples, asked]) => {
      globalThis.mix = Float32Array.from(samples);
      globalThis.separator = await Separator.open(await loadBundle("/bundle"), { provider: asked });
      if (separator.provider !== asked) throw new Error(`${separator.provider} runs instead of ${asked}`);
    },
    [[...mix], provider],
  );
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const run = (what) => runOf(separator, mix, what).then((voices) => voices.map((voice) => [...voice]));
    const voices = await page.evaluate(run, pairs[i]);
    await writeFile(pairs[i + 1], new Uint8Array(Float32Array.from(voices.flat()).buffer));
  }
} finally {
  await browser.close();
}
