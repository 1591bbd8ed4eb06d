/** Records of steps when it has been decided who is who: what is told of voices goes where the voices go. */

import type { Order } from "./order.js";
import type { Step } from "./plan.js";

/** Return the record of a step where all voices are one talker's: the best of them, and silence. */
export function ofOne(step: Step): Step {
  if (step.voices === null) return step;
  const told = step.voices.filter((voice) => voice !== null);
  const [best = null] = told.sort((one, two) => two.siSdrDb - one.siSdrDb);
  return { ...step, voices: step.voices.map((_, output) => (output === 0 ? best : null)) };
}

/** Return the record of a step with its voices in the order that most of its blocks have. */
export function ordered(step: Step, orders: readonly Order[], blockS: number): Step {
  if (step.voices === null) return step;
  const first = Math.min(Math.floor(step.startS / blockS), orders.length - 1);
  const last = Math.max(first + 1, Math.floor((step.startS + step.windowS) / blockS));
  const counts = new Map<Order, number>();
  for (const order of orders.slice(first, last)) counts.set(order, (counts.get(order) ?? 0) + 1);
  const [[order]] = [...counts].sort((one, two) => two[1] - one[1] || compare(one[0], two[0])) as [[Order, number]];
  return { ...step, voices: order.map((source) => step.voices![source]!) };
}

function compare(one: Order, two: Order): number {
  const at = one.findIndex((source, output) => source !== two[output]);
  return at < 0 ? 0 : one[at]! - two[at]!;
}
