/**
 * How WebGPU is chosen and given up, with a stand-in: ONNX Runtime for Node, made slow, wrong or lost.
 *
 *     node providers.mjs TOY STREAM_TOY
 *
 * prints as JSON for each case what ran before and after the choice and in the end, why WebGPU did not, how often graphs ran
 * on it, and whether the voices are those of the reference; or the error.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import * as ort from "onnxruntime-node";

import { readBundle, type Bundle, type Files } from "../../../runtime/web/src/bundle.js";
import type { OpenOptions } from "../../../runtime/web/src/engine.js";
import { ProviderError } from "../../../runtime/web/src/errors.js";
import type { OnnxRuntime, Platform, Tensors } from "../../../runtime/web/src/onnx-runtime.js";
import { Separator } from "../../../runtime/web/src/separator.js";
import { inTurns } from "../../../runtime/web/src/webgpu.js";

const SLOW_MS = 20;

/** What a stand-in does when a graph runs; it may change the result. */
type Behaviour = (outputs: Tensors) => Promise<void> | void;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const slowly = (): Promise<void> => sleep(SLOW_MS);
const slowerStill = (): Promise<void> => sleep(4 * SLOW_MS); // beside which a busy machine adds little

function standIn(behaviour: Behaviour): OnnxRuntime {
  const create = async (model: Uint8Array, options: object) => {
    const session = await ort.InferenceSession.create(model, { ...options, executionProviders: ["cpu"] });
    const run = session.run.bind(session) as (inputs: Tensors) => Promise<Tensors>;
    const changed = async (inputs: Tensors): Promise<Tensors> => {
      const outputs = await run(inputs);
      await behaviour(outputs);
      return outputs;
    };
    return Object.assign(session, { run: changed });
  };
  return { InferenceSession: { create }, Tensor: ort.Tensor } as unknown as OnnxRuntime;
}

class FolderFiles implements Files {
  constructor(private readonly folder: string) {}
  label = (path = ""): string => join(this.folder, path);
  read = (path: string): Promise<Uint8Array> => readFile(this.label(path));
  missing = async (): Promise<string[]> => [];
}

const [, , toy, streamToy] = process.argv as [string, string, string, string];
const mix = Float32Array.from({ length: 5000 }, (_, i) => 0.5 * Math.sin(i * i));
const alone = { useThreads: () => 1 };
const found: Record<string, unknown> = {};
let runs = 0; // on the stand-in
let opened = 0;
let isChosen = false;

async function bundleOf(folder: string, here: Behaviour, there: Behaviour | null): Promise<Bundle> {
  [runs, opened, isChosen] = [0, 0, false];
  const accelerate = async (): Promise<Platform> => {
    opened += 1;
    if (there === null) throw new ProviderError("WebGPU: this browser offers no adapter");
    const counted: Behaviour = (outputs) => {
      runs += 1;
      return there(outputs);
    };
    return { ...alone, ort: standIn(counted), provider: "webgpu", providers: ["webgpu"] };
  };
  const platform = { ...alone, ort: standIn(here), provider: "wasm", providers: ["wasm", "webgpu"], accelerate };
  return readBundle(new FolderFiles(folder), platform);
}

const expected = (
  await (await Separator.open(await bundleOf(toy, () => {}, null), { provider: "wasm" })).separate(mix)
).sources;
const isExpected = (sources: readonly Float32Array[]): boolean =>
  sources.every((voice, i) => voice.every((x, at) => x === expected[i]![at]));

async function keep(name: string, call: () => Promise<unknown>): Promise<void> {
  try {
    found[name] = await call();
  } catch (error) {
    found[name] = `${(error as Error).name}: ${(error as Error).message}`;
  }
}

/** Choose, then separate. */
async function chosen(here: Behaviour, there: Behaviour | null, options: OpenOptions = {}): Promise<unknown> {
  const separator = await Separator.open(await bundleOf(toy, here, there), options);
  const before = separator.provider;
  const choice = await separator.chooseProvider();
  [runs, isChosen] = [0, true];
  const { sources } = await separator.separate(mix);
  return [before, choice, separator.provider, separator.fallbackReason, runs, isExpected(sources)];
}

/** Make a stand-in that is lost in the middle of what comes after the choice. */
function lostAfter(most: number): Behaviour {
  return () => {
    if (isChosen && runs === most) throw new ProviderError("WebGPU: the device was lost, until the page is loaded again");
  };
}

await keep("faster", () => chosen(slowly, () => {}));
await keep("slower", () => chosen(() => {}, slowly));
await keep("as fast", () => chosen(slowerStill, slowerStill));
await keep("wrong", () => chosen(slowly, ({ est }) => void (est && ((est.data as Float32Array)[0]! += 1))));
await keep("NaN", () => chosen(slowly, ({ est }) => void (est && ((est.data as Float32Array)[0] = NaN))));
await keep("absent", () => chosen(() => {}, null));
await keep("precision", async () => [await chosen(slowly, () => {}, { precision: "fp32" }), opened]);
await keep("wasm", async () => [await chosen(slowly, () => {}, { provider: "wasm" }), opened]);
await keep("lost", () => chosen(slowly, lostAfter(5)));
await keep("asked", () => chosen(() => {}, slowly, { provider: "webgpu" }));
await keep("asked, lost", () => chosen(() => {}, lostAfter(5), { provider: "webgpu" }));
await keep("asked, absent", () => chosen(() => {}, null, { provider: "webgpu" }));
await keep("unknown", () => chosen(() => {}, null, { provider: "cuda" }));
await keep("stream", async () => {
  const separator = await Separator.open(await bundleOf(streamToy, slowly, () => {}));
  await separator.separate(mix);
  return [await separator.chooseProvider(), separator.fallbackReason, opened];
});
await keep("stream, asked", async () => {
  return Separator.open(await bundleOf(streamToy, () => {}, () => {}), { provider: "webgpu" });
});
await keep("of itself", async () => {
  const separator = await Separator.open(await bundleOf(toy, slowly, () => {}));
  const ran = [];
  for (let turn = 0; turn < 2; ++turn) {
    const first = runs;
    const { sources } = await separator.separate(mix);
    ran.push([separator.provider, runs > first, isExpected(sources)]);
    await sleep(500); // graphs are opened meanwhile
  }
  return ran;
});
await keep("not while it separates", async () => {
  const separator = await Separator.open(await bundleOf(toy, slowly, () => {}));
  const order: string[] = [];
  const separating = separator.separate(mix).then(() => order.push(`separated, ${runs}`));
  await separator.chooseProvider().then(() => order.push("chosen"));
  await separating;
  return order;
});

await keep("in turns", async () => {
  const order: string[] = [];
  let lose: (info: { message: string }) => void;
  const lost = new Promise<{ message: string }>((resolve) => (lose = resolve));
  const queue = { onSubmittedWorkDone: async () => (await sleep(5), void order.push("done")) };
  const inTurn = inTurns(async () => ({ queue, lost }));
  const call = (name: string) => inTurn(async () => (order.push(name), await sleep(1), name));
  const failing = inTurn(() => Promise.reject(new Error("no")));
  const told = await Promise.allSettled([call("a"), failing, call("b")]);
  const hanging = inTurn(() => new Promise(() => {}));
  await sleep(5);
  lose!({ message: "gone" });
  const errors = await Promise.allSettled([hanging, call("c")]);
  const say = (one: PromiseSettledResult<unknown>) => (one.status === "fulfilled" ? one.value : one.reason.message);
  return [told.map(say), errors.map(say), order];
});
console.log(JSON.stringify(found));
