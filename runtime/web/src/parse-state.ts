/** What a manifest of a streaming bundle must have: shapes that are fixed, and state that fits them. */

import { GRAPHS, LONGEST_S, MOST_NUMBERS, type GraphName, type Manifest, type StateBuffer } from "./manifest.js";

type Need = (condition: boolean, message: string) => void;
type Shape = readonly (number | string)[];

/** Call `need` for everything that step, latency and state have to be. */
export function checkStreaming(manifest: Manifest, need: Need): void {
  const { stepSamples: step, latencySamples: latency } = manifest.stream ?? { stepSamples: 0, latencySamples: 0 };
  const isPossible = 0 < step && step <= latency && latency <= LONGEST_S * manifest.sampleRate;
  need(isPossible, `stream must have 0 < step_samples <= latency_samples, at most ${LONGEST_S} s`);
  need(manifest.windowsS.length === 0, "windows_s is for offline bundles");
  checkStepShapes(manifest, step, need);
  let kept = 0; // numbers
  for (const buffer of manifest.state) {
    const repetitions = buffer.graph === "block" ? manifest.depth.max : 1;
    kept += repetitions * checkBuffer(manifest, buffer, need);
  }
  need(kept <= MOST_NUMBERS, `state must be of up to ${MOST_NUMBERS} numbers, for all repetitions`);
}

/** Return how many numbers a buffer holds; what is new must fit it. */
function checkBuffer(manifest: Manifest, buffer: StateBuffer, need: Need): number {
  const { input, newest, axis } = buffer;
  need(GRAPHS.includes(buffer.graph as GraphName), `unknown graph '${buffer.graph}' in state`);
  const graph = manifest.graphs[buffer.graph as GraphName];
  const shape = graph.inputs.find((tensor) => tensor.name === input)?.shape ?? [];
  const added = graph.outputs.find((tensor) => tensor.name === newest)?.shape ?? [];
  const isFixed = shape.length > 0 && shape.every((size) => typeof size === "number" && size > 0);
  need(isFixed, `state ${input} must be an input of ${buffer.graph} with a fixed shape`);
  need(axis < shape.length, `state ${input} has no axis ${axis}`);
  const fits =
    added.length === shape.length &&
    added.every((size, i) => (i === axis ? 0 < Number(size) && Number(size) <= Number(shape[i]) : size === shape[i]));
  need(fits, `state ${input}: the output '${newest}' of ${buffer.graph} cannot be appended to it`);
  return shape.reduce<number>((count, size) => count * Number(size), 1);
}

/** Every shape is fixed, and fits the others. */
function checkStepShapes(manifest: Manifest, step: number, need: Need): void {
  const { stem, block, decoder } = manifest.graphs;
  for (const graph of [stem, block, decoder]) {
    for (const tensor of [...graph.inputs, ...graph.outputs]) {
      const isFixed = tensor.shape.every((size) => typeof size === "number");
      need(isFixed, `${tensor.name} must have a fixed shape`);
    }
  }
  const shapeOf = (name: string): Shape =>
    [...stem.inputs, ...stem.outputs].find((tensor) => tensor.name === name)?.shape ?? [];
  need(areEqual(shapeOf("mix"), [1, step]), "mix must be (1, step_samples)");
  need(areEqual(decoder.outputs[0]!.shape, [manifest.sources, step]), "est must be (sources, step_samples)");
  need(areEqual(block.outputs[0]!.shape, shapeOf("z")), "the block's first output must have the shape of z");
}

function areEqual(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}
