/**
 * The three graphs of an offline bundle, one call per graph, so that a budget can be kept between repetitions:
 *
 *     mix ──> stem ──> z ──block──> z ──block──> z ──> decoder ──> est
 *                └──── other outputs of the stem, used by name ────┘
 */

import { refuseUnusable, type Engine, type StepEngine } from "./engine.js";
import { BundleError } from "./errors.js";
import { CHANGE } from "./manifest.js";
import { free, numbersOf, type Tensors } from "./onnx-runtime.js";

/** Steps remember nothing of each other: each is a window, of any length. */
export class OfflineSteps implements StepEngine {
  change: Float32Array | null = null;
  private tensors: Tensors = {};
  private samples = 0;

  constructor(private readonly engine: Engine) {}

  reset(): void {
    free(this.tensors);
    this.tensors = {};
  }

  /** Run the stem on (samples,); a mixture shorter than the bundle's minimum is padded. */
  async start(mix: Float32Array): Promise<void> {
    const { graphs, manifest } = this.engine;
    const padded = new Float32Array(Math.max(mix.length, manifest.minSamples));
    padded.set(mix);
    this.samples = mix.length;
    this.change = null;
    this.reset();
    const tensors = { mix: graphs.stem.tensor(padded, [1, padded.length]) };
    this.tensors = { ...tensors, ...(await graphs.stem.run(tensors)) };
  }

  async repeat(): Promise<void> {
    const { graphs, manifest } = this.engine;
    const outputs = await graphs.block.run(this.tensors);
    free({ z: this.tensors["z"]! });
    this.tensors["z"] = outputs[manifest.graphs.block.outputs[0]!.name]!;
    const change = outputs[CHANGE];
    this.change = change === undefined ? null : numbersOf(change);
  }

  async decode(): Promise<Float32Array[]> {
    const { graphs, manifest } = this.engine;
    const { est } = await graphs.decoder.run(this.tensors);
    const [sources, samples] = est!.dims;
    if (est!.dims.length !== 2 || sources !== manifest.sources || samples! < this.samples) {
      const listed = `(${manifest.sources}, ${this.samples})`;
      throw new BundleError(`bundle ${manifest.name} returned (${est!.dims}) where its manifest lists ${listed}`);
    }
    const numbers = numbersOf(est!);
    const estimate = Array.from({ length: sources }, (_, source) =>
      numbers.slice(source * samples!, source * samples! + this.samples),
    );
    refuseUnusable(estimate, manifest);
    return estimate;
  }
}
