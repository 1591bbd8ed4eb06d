/**
 * ONNX Runtime's build for WebGPU. A browser fetches it only to use it: it is much larger than the one for WebAssembly.
 *
 * It can do one thing at a time, and what a graph has been told to compute may not be done when its call returns. So calls
 * wait for each other, and each for the device. When the device is lost, no result is taken from it any more.
 */

import { ProviderError, firstLine } from "./errors.js";
import { oneByOne, type InTurn, type OnnxRuntime, type Platform } from "./onnx-runtime.js";

/** What is used of the browser's interface, for which TypeScript has no types. */
interface Adapter {
  readonly info?: { readonly isFallbackAdapter?: boolean };
}
interface Gpu {
  requestAdapter(): Promise<Adapter | null>;
}
interface Device {
  readonly queue: { onSubmittedWorkDone(): Promise<void> };
  readonly lost: Promise<{ readonly message: string }>;
}

let platform: Promise<Platform> | undefined; // one for the page or worker, as there is one device

/**
 * Return ONNX Runtime on WebGPU.
 *
 * @param isAsked also takes an adapter that is only software.
 * @throws ProviderError where there is no adapter, or it does not start.
 */
export async function openWebGpu(isAsked: boolean): Promise<Platform> {
  const { gpu } = globalThis.navigator as { gpu?: Gpu };
  const adapter = (await gpu?.requestAdapter().catch(() => null)) ?? null;
  if (adapter === null) throw new ProviderError("WebGPU: this browser offers no adapter");
  if (!isAsked && adapter.info?.isFallbackAdapter) throw new ProviderError("WebGPU: the only adapter is software");
  platform ??= start().catch((error: unknown) => {
    platform = undefined;
    throw new ProviderError(`WebGPU: ONNX Runtime does not start: ${firstLine(error)}`, { cause: error });
  });
  return platform;
}

async function start(): Promise<Platform> {
  const [plain, ort] = await Promise.all([import("onnxruntime-web/wasm"), import("onnxruntime-web/webgpu")]);
  const { wasmPaths } = plain.env.wasm;
  if (typeof wasmPaths === "string") ort.env.wasm.wasmPaths ??= wasmPaths; // the folder of both builds
  ort.env.wasm.numThreads = 1;
  const device = async (): Promise<Device> => (await ort.env.webgpu.device) as unknown as Device;
  return {
    ort: ort as OnnxRuntime,
    provider: "webgpu",
    providers: ["webgpu"],
    useThreads: () => 1,
    inTurn: inTurns(device),
    isDevice: true,
  };
}

/** Return what makes calls one after the other, each until the device has done its work. */
export function inTurns(find: () => Promise<Device>): InTurn {
  const next = oneByOne();
  let device: Device | undefined; // ONNX Runtime makes it with its first graph
  let loss: ProviderError | undefined;
  let giveUp: (why: ProviderError) => void = () => {}; // the call under way, which may not come back from a lost device

  const watch = (found: Device): void => {
    device = found;
    void device.lost.then(({ message }) => {
      const why = message ? ` (${firstLine(message)})` : "";
      loss = new ProviderError(`WebGPU: the device was lost${why}, until the page is loaded again`);
      giveUp(loss);
    });
  };
  const run = async <T>(call: () => Promise<T>): Promise<T> => {
    if (loss !== undefined) throw loss;
    const finished = async (): Promise<T> => {
      const result = await call();
      if (device === undefined) watch(await find());
      await device!.queue.onSubmittedWorkDone();
      return result;
    };
    const result = await new Promise<T>((resolve, reject) => {
      giveUp = reject;
      finished().then(resolve, reject);
    });
    if (loss !== undefined) throw loss;
    return result;
  };
  return (call) => next(() => run(call));
}
