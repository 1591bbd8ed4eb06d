/** A whole signal that has been separated: its voices go to the outputs of their talkers. */

import { assign, type Heard } from "./assignment.js";
import { fadeIn, product, roundEven, zeros } from "./numbers.js";
import type { Order } from "./order.js";
import type { Voiceprints } from "./voiceprints.js";

export const TOGETHER = 16; // blocks that are described in one go, with one more of context on either side
export const FADE_S = 0.016; // from one order to another
export const STEP_S = 0.008; // of the search for the quietest moment

/**
 * Put the voices (sources, n) of a signal into one order from beginning to end, in place. Where all are one talker's,
 * the first output gets their sum and the others are silent.
 *
 * @returns the order of each block; null where there is one talker.
 */
export async function settle(
  voices: readonly Float32Array[],
  voiceprints: Voiceprints,
  sampleRate: number,
): Promise<Order[] | null> {
  const blocks = await describe(voices, voiceprints);
  const orders = assign(blocks, voiceprints.same, voiceprints.certainty);
  if (orders !== null) {
    putInOrder(voices, orders, voiceprints.block, sampleRate);
    return orders;
  }
  const [first, ...others] = voices;
  for (const other of others) {
    for (let i = 0; i < other.length; ++i) first![i] = first![i]! + other[i]!;
    other.fill(0);
  }
  return null;
}

/** Describe the voices block by block; beyond their ends is silence. */
async function describe(voices: readonly Float32Array[], voiceprints: Voiceprints): Promise<Heard[][]> {
  const { block } = voiceprints;
  const count = Math.ceil(voices[0]!.length / block);
  const found: Heard[][] = [];
  for (let first = 0; first < count; first += TOGETHER) {
    const together = Math.min(TOGETHER, count - first);
    const pieces = zeros(voices.length, (together + 2) * block);
    const begin = (first - 1) * block; // of the block of context
    pieces.forEach((piece, source) => {
      piece.set(voices[source]!.subarray(Math.max(begin, 0), begin + piece.length), Math.max(-begin, 0));
    });
    const prints = await voiceprints.describe(pieces);
    for (let i = 1; i <= together; ++i) {
      const sounds = pieces.map((piece) => piece.subarray(i * block, (i + 1) * block));
      const heard = sounds.map((sound, source) => ({
        print: prints[i]![source]!,
        power: product(sound, sound) / block,
      }));
      found.push(heard);
    }
  }
  return found;
}

function putInOrder(
  voices: readonly Float32Array[],
  orders: readonly Order[],
  block: number,
  sampleRate: number,
): void {
  const rising = fadeIn(roundEven(FADE_S * sampleRate));
  const step = roundEven(STEP_S * sampleRate);
  const starts: { begin: number; order: Order }[] = [{ begin: 0, order: orders[0]! }];
  for (let i = 1; i < orders.length; ++i) {
    if (orders[i] === orders[i - 1]) continue;
    starts.push({ begin: quietest(voices, i * block, block, rising.length, step), order: orders[i]! });
  }
  const columns = voices.map((voice) => voice.slice());
  starts.forEach(({ begin, order }, part) => {
    const end = starts[part + 1]?.begin ?? voices[0]!.length;
    const before = starts[part - 1]?.order;
    order.forEach((source, output) => {
      voices[output]!.set(columns[source]!.subarray(begin, end), begin);
      if (before) fadeOver(voices[output]!, columns[before[output]!]!, rising, begin, end);
    });
  });
}

/** Fade from an older signal into what is there, from a sample on. */
function fadeOver(voice: Float32Array, old: Float32Array, rising: Float32Array, begin: number, end: number): void {
  for (let i = begin; i < Math.min(begin + rising.length, end); ++i) {
    voice[i] = old[i]! + rising[i - begin]! * (voice[i]! - old[i]!);
  }
}

/** Return where, around a boundary of two blocks, a fade meets the least sound. */
function quietest(
  voices: readonly Float32Array[],
  boundary: number,
  block: number,
  fade: number,
  step: number,
): number {
  const samples = voices[0]!.length;
  const half = Math.floor(block / 2);
  const begin = Math.max(boundary - half + fade, 0);
  const end = Math.min(boundary + half - fade, samples);
  const loud: number[] = []; // power of each step
  for (let at = begin; at + step <= end; at += step) {
    const parts = voices.map((voice) => voice.subarray(at, at + step));
    loud.push(parts.reduce((power, part) => power + product(part, part), 0));
  }
  if (loud.length < 2) return Math.min(boundary, samples);
  let best = 0;
  for (let i = 1; i + 1 < loud.length; ++i) {
    if (loud[i]! + loud[i + 1]! < loud[best]! + loud[best + 1]!) best = i;
  }
  return begin + step * best;
}
