/** What an estimate of quality looks at in the sound of a window: a few sums, cheap beside the network. */

import { product, roundEven } from "./numbers.js";

export const FRAME_S = 0.032;

/** Sums over one signal of a window. */
export interface Sums {
  /** Mean square of each frame. */
  readonly frames: Float64Array;
  /** Mean of the frames. */
  readonly power: number;
  /** Mean square of the differences of neighbouring samples. */
  readonly steps: number;
}

/** Sums over a window: of the mixture, of the rest that no voice has, and of each voice. */
export interface Statistics {
  readonly mix: Sums;
  readonly rest: Sums;
  readonly voices: readonly Sums[];
  /** Mean products of voices (sources, sources). */
  readonly products: readonly (readonly number[])[];
}

/** Compute the statistics of a window (n,) and its voices (sources, n). */
export function statisticsOf(mix: Float32Array, voices: readonly Float32Array[], sampleRate: number): Statistics {
  const rest = mix.slice();
  for (const voice of voices) for (let i = 0; i < rest.length; ++i) rest[i] = rest[i]! - voice[i]!;
  const frame = Math.min(roundEven(FRAME_S * sampleRate), mix.length);
  return {
    mix: sumsOf(mix, frame),
    rest: sumsOf(rest, frame),
    voices: voices.map((voice) => sumsOf(voice, frame)),
    products: voices.map((a) => voices.map((b) => product(a, b) / mix.length)),
  };
}

function sumsOf(signal: Float32Array, frame: number): Sums {
  const frames = Float64Array.from({ length: Math.floor(signal.length / frame) }, (_, i) => {
    const part = signal.subarray(i * frame, (i + 1) * frame);
    return product(part, part) / frame;
  });
  let steps = 0;
  for (let i = 1; i < signal.length; ++i) steps += (signal[i]! - signal[i - 1]!) ** 2;
  const power = frames.reduce((total, one) => total + one, 0) / frames.length;
  return { frames, power, steps: steps / Math.max(1, signal.length - 1) };
}
