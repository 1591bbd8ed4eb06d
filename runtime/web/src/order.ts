/**
 * Which source of an estimate continues which of the one before, where both share sound.
 *
 * A separator returns its sources in any order. Each window's sources are put into the order that agrees best with the
 * previous window in the overlap. The agreement is the sum of the inner products, see `tisdiss_rt/talkers/order.py`.
 */

import { product, sum } from "./numbers.js";

export const MARGIN = 1e-3; // of the overlap's energy, by which an order must be better than the last known one

/** The source that goes to each output. */
export type Order = readonly number[];

/** Return all orders of so many sources, that of the network first. */
export function allOrders(sources: number): Order[] {
  const extend = (begun: Order): Order[] =>
    begun.length === sources
      ? [begun]
      : Array.from({ length: sources }, (_, source) => source)
          .filter((source) => !begun.includes(source))
          .flatMap((source) => extend([...begun, source]));
  return extend([]);
}

/**
 * Find the order of `after` that agrees best with `before`, both (sources, samples), as far as the shorter goes.
 * Sources that are silent, so that nothing tells them apart, stay as in `last`.
 */
export function matchOrder(before: readonly Float32Array[], after: readonly Float32Array[], last: Order): Order {
  const samples = Math.min(before[0]!.length, after[0]!.length);
  const energy = (voices: readonly Float32Array[]): number =>
    sum(voices.map((voice) => voice.subarray(0, samples)).map((voice) => product(voice, voice)));
  const margin = MARGIN * Math.sqrt(energy(before) * energy(after));
  const agreement = before.map((one) => after.map((other) => product(one, other)));
  const changes = (order: Order): number => order.filter((source, i) => source !== last[i]).length;
  let best = last;
  let bestScore = -Infinity;
  for (const order of allOrders(last.length).sort((a, b) => changes(a) - changes(b))) {
    const score = sum(order.map((source, output) => agreement[output]![source]!));
    if (score > bestScore + margin) {
      best = order;
      bestScore = score;
    }
  }
  return best;
}
