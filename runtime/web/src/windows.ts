/**
 * Long signals in overlapping windows, so that a step stays short.
 *
 * Windows of W samples start every W/2. In the overlap the newer estimate fades in with a raised cosine while the older
 * one fades out; the two weights sum to one:
 *
 *     window 0   |-------- W --------|
 *     window 1             |-------- W --------|
 *     window 2                       |-------- W --------|
 *     last                                 |-------- W --------|      the end of the signal
 *     result     |  0      | 0 to 1  | 1 to 2  |2 to last| last |
 *
 * The last window ends where the signal ends and so overlaps its predecessor by more than half; its first samples,
 * where the predecessor is not yet fading out, are dropped. A signal no longer than a window is separated whole.
 */

import { fadeIn, zeros } from "./numbers.js";
import { matchOrder, type Order } from "./order.js";

/** Separates a window that begins at a sample: (sources, samples). */
export type SeparateWindow = (start: number, samples: number) => Promise<Float32Array[]>;

/**
 * Separate a signal of so many samples in windows of `window`, which is even.
 *
 * @param matched is told the order that the sources of the last window got.
 * @returns (sources, samples).
 */
export async function separateWindows(
  samples: number,
  window: number,
  separate: SeparateWindow,
  matched: (order: Order) => void,
): Promise<Float32Array[]> {
  const hop = window / 2;
  const first = await separate(0, Math.min(window, samples));
  const voices = zeros(first.length, samples);
  voices.forEach((voice, i) => voice.set(first[i]!));
  const fade = fadeIn(samples > window ? hop : 0);
  let order: Order = first.map((_, source) => source);
  for (let joint = hop; joint + hop < samples; joint += hop) {
    const start = Math.min(joint, samples - window);
    const estimate = (await separate(start, window)).map((source) => source.subarray(joint - start));
    const before = voices.map((voice) => voice.subarray(joint, joint + hop));
    order = matchOrder(before, estimate, order);
    matched(order);
    order.forEach((source, output) => join(voices[output]!.subarray(joint), estimate[source]!, fade));
  }
  return voices;
}

/** Join an estimate to what is there already, which fades out over the first samples. */
function join(voice: Float32Array, estimate: Float32Array, fade: Float32Array): void {
  for (let i = 0; i < fade.length; ++i) voice[i] = voice[i]! + fade[i]! * (estimate[i]! - voice[i]!);
  voice.set(estimate.subarray(fade.length), fade.length);
}
