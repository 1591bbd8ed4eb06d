/** The package for browsers: bundles are addresses, and onnxruntime-web runs them in WebAssembly or on WebGPU. */

import { readBundle, type Bundle } from "./bundle.js";
import { ProviderError, firstLine } from "./errors.js";
import { FetchedFiles } from "./fetched-files.js";
import { oneByOne, type Platform } from "./onnx-runtime.js";
import { openWebGpu } from "./webgpu.js";

export * from "./api.js";

/** WebAssembly has one stack: of two runs that overlap, each puts it back where the other still needs it. */
const inTurn = oneByOne();

/** Return ONNX Runtime for browsers; throws ProviderError where it does not start. */
async function platform(): Promise<Platform> {
  try {
    const ort = await import("onnxruntime-web/wasm");
    return {
      ort,
      provider: "wasm",
      providers: ["wasm", "webgpu"],
      // More than one thread needs a page that is isolated from others (COOP and COEP).
      useThreads: (asked) => (ort.env.wasm.numThreads = Math.max(1, globalThis.crossOriginIsolated ? asked : 1)),
      accelerate: openWebGpu,
      inTurn,
    };
  } catch (error) {
    throw new ProviderError(`ONNX Runtime does not start: ${firstLine(error)}`, { cause: error });
  }
}

/**
 * Load a bundle: its manifest is checked. The content of a file is verified when it is read.
 *
 * @param where the address of the folder, relative to the page or the worker.
 * @throws BundleError where the bundle is missing, invalid or too new.
 */
export async function loadBundle(where: string | URL): Promise<Bundle> {
  return readBundle(new FetchedFiles(String(new URL(where, globalThis.location.href))), await platform());
}
