/** What separated voices are compared by: the part `voice` of a bundle, see `tisdiss_rt/talkers/voiceprints.py`. */

import type { Engine } from "./engine.js";
import { BundleError } from "./errors.js";
import { VOICE, partOf } from "./manifest.js";
import { numbersOf, type Graph } from "./onnx-runtime.js";
import { roundEven } from "./numbers.js";

export const BLOCK_S = 0.256;

const TINY = 1e-20; // against division by nothing

/** Describes voices block by block. */
export class Voiceprints {
  /** Samples of a block that is described: a whole number of the part's hops. */
  readonly block: number;
  /** Squared distance of two points at which they are as likely of one talker as of two. */
  readonly same: number;
  /** How much a squared distance says where a block is compared with a talker. */
  readonly certainty: number;
  /** Length of a voiceprint. */
  readonly size: number;
  private readonly graph: Graph;
  private readonly hop: number;

  /** For bundles with the part. */
  constructor({ manifest, voice }: Engine) {
    const { values, graph } = partOf(manifest, VOICE)!;
    this.graph = voice!;
    this.hop = values["hop"]![0]!;
    this.same = values["same"]![0]!;
    this.certainty = values["certainty"]![0]!;
    this.size = Number(graph!.outputs[0]!.shape[2]);
    this.block = this.hop * roundEven((BLOCK_S * manifest.sampleRate) / this.hop);
  }

  /**
   * Describe voices (sources, blocks * block).
   *
   * @returns the voiceprint (size,) of each block and source, the weighted mean over its frames.
   */
  async describe(voices: readonly Float32Array[]): Promise<Float32Array[][]> {
    const samples = voices[0]!.length;
    const joined = new Float32Array(voices.length * samples);
    voices.forEach((voice, source) => joined.set(voice, source * samples));
    const outputs = await this.graph.run({ voices: this.graph.tensor(joined, [voices.length, samples]) });
    const prints = numbersOf(outputs["prints"]!);
    const weights = numbersOf(outputs["weights"]!);
    const count = voices.length * (samples / this.hop);
    if (weights.length !== count || prints.length !== count * this.size) {
      throw new BundleError(`the voice graph returned ${prints.length} and ${weights.length} numbers`);
    }
    const frames = this.block / this.hop;
    return Array.from({ length: samples / this.block }, (_, block) =>
      voices.map((_, source) => {
        const first = source * (samples / this.hop) + block * frames;
        return this.mean(prints, weights, first, first + frames);
      }),
    );
  }

  private mean(prints: Float32Array, weights: Float32Array, first: number, end: number): Float32Array {
    const mean = new Float32Array(this.size);
    let total = TINY;
    for (let frame = first; frame < end; ++frame) {
      total += weights[frame]!;
      for (let i = 0; i < this.size; ++i) mean[i] = mean[i]! + weights[frame]! * prints[frame * this.size + i]!;
    }
    return mean.map((number) => number / total);
  }
}

/** Return where voices are compared: the direction of a voiceprint, or of a sum of them. */
export function toPoint(print: Float32Array): Float32Array {
  let squared = 0;
  for (const number of print) squared += number * number;
  const length = Math.sqrt(squared) + TINY;
  return print.map((number) => number / length);
}

/** Return the squared distance of two points. */
export function squaredDistance(one: Float32Array, two: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < one.length; ++i) sum += (one[i]! - two[i]!) ** 2;
  return sum;
}
