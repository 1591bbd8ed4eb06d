/**
 * Who is who over a whole signal: which talker each output has, block by block, decided all at once.
 *
 * A network keeps two voices apart where they overlap; over pauses, and from turn to turn, it may exchange them.
 * Stretches in which one output dominates are grouped by their voiceprints, the two nearest groups first (Ward's
 * method). With what the groups sound like, the most likely sequence of orders is found by dynamic programming
 * (Viterbi), and the talkers are learnt again from it, until nothing changes. As in
 * `tisdiss_rt/talkers/assignment.py`.
 */

import { argmax, roundEven, sum } from "./numbers.js";
import { allOrders, type Order } from "./order.js";
import { squaredDistance, toPoint } from "./voiceprints.js";

export const ACTIVE_DB = -30; // of the signal's level: what is quieter is silence
export const DOMINANT = 0.8; // share of a block's power with which a source stands for itself
export const LONGEST = 8; // blocks of a stretch
export const MOST_STRETCHES = 1500; // stretches that are grouped; of more, some are taken
export const CHANGE = 3; // cost of another order in a pause,
export const CHANGE_IN_SOUND = 12; // and what sound adds
export const ROUNDS = 6;
export const ALIKE = 0.6; // of the distance at which two voices may be one talker's
export const FEW_BLOCKS = 4; // from which voices usually seem twice as far apart as they are,
export const TOO_FEW_BLOCKS = 12; // and at the worst
export const RESIDUE_SHARE = 0.1; // of a block's power: what a source has of a louder voice, or of noise
export const TOGETHER_SHARE = 0.12; // of the sound in which a second voice is louder than that

const TINY = 1e-20; // against division by nothing

/** What is known of one source in one block. */
export interface Heard {
  /** Voiceprint (size,). */
  readonly print: Float32Array;
  /** Mean square. */
  readonly power: number;
}

/** The same, weighed: how much it counts as a voice of its own, and whether it is heard, from 0 to 1. */
interface Evidence extends Heard {
  readonly point: Float32Array;
  readonly counts: number;
  readonly active: number;
}

/** A stretch of blocks in which one source dominates. */
interface Stretch {
  readonly source: number;
  readonly begin: number;
  readonly end: number;
}

/** The sum of voiceprints, and how many blocks it counts for. */
interface Pool {
  sum: Float32Array;
  count: number;
}

/**
 * Find the order of each block; null where all voices are one talker's.
 *
 * @param blocks what each source has of each block (blocks, sources).
 * @param same squared distance at which two voices are as likely of one talker as of two.
 * @param certainty how much a squared distance says.
 */
export function assign(blocks: readonly (readonly Heard[])[], same: number, certainty: number): Order[] | null {
  const sources = blocks[0]!.length;
  const orders = allOrders(sources);
  const evidence = weighed(blocks);
  const asItIs = blocks.map(() => orders[0]!);
  const pools = pooled(evidence, stretchesOf(evidence));
  if (pools.length < sources) return asItIs;
  const groups = grouped(pools, sources);
  let talkers = groups.map((group) => toPoint(group.sum));
  const distances = talkers.flatMap((one) => talkers.map((other) => squaredDistance(one, other)));
  const apart = Math.max(...distances) / (ALIKE * same);
  const least = Math.min(...groups.map((group) => group.count));
  const isTogether = areTogether(evidence);
  if (!isTogether && apart < 1 + FEW_BLOCKS / least) return null;
  if (apart < (isTogether ? 0.5 : 1) + TOO_FEW_BLOCKS / least) return asItIs;
  let path: number[] = [];
  for (let round = 0; round < ROUNDS; ++round) {
    const before = path;
    path = bestPath(evidence, talkers, certainty, orders);
    talkers = learnt(evidence, path.map((order) => orders[order]!), talkers);
    if (path.every((order, block) => order === before[block])) break;
  }
  return path.map((order) => orders[order]!);
}

/** Weigh the blocks: silence and residues of a louder voice count little. */
function weighed(blocks: readonly (readonly Heard[])[]): Evidence[][] {
  const totals = blocks.map((block) => sum(block.map((heard) => heard.power)));
  const level = sum(totals.map((total) => total ** 2)) / (sum(totals) + TINY);
  return blocks.map((block, i) =>
    block.map(({ print, power }) => {
      const active = power / (power + level * 10 ** (ACTIVE_DB / 10) + TINY);
      return { print, power, point: toPoint(print), active, counts: (active * power) / (totals[i]! + TINY) };
    }),
  );
}

/** Return so many whole numbers from `first` to `last`, evenly spread. */
function spread(first: number, last: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => roundEven(first + (i * (last - first)) / (count - 1)));
}

function stretchesOf(evidence: readonly Evidence[][]): Stretch[] {
  const found: Stretch[] = [];
  for (let source = 0; source < evidence[0]!.length; ++source) {
    const dominates = (block: number): boolean => evidence[block]![source]!.counts > DOMINANT;
    for (let begin = 0; begin < evidence.length; ++begin) {
      if (!dominates(begin)) continue;
      let end = begin;
      while (end < evidence.length && dominates(end)) ++end;
      const cuts = spread(begin, end, Math.ceil((end - begin) / LONGEST) + 1);
      for (let i = 0; i + 1 < cuts.length; ++i) found.push({ source, begin: cuts[i]!, end: cuts[i + 1]! });
      begin = end;
    }
  }
  return found.sort((one, two) => one.begin - two.begin);
}

function add(pool: Pool, print: Float32Array, weight: number): void {
  for (let i = 0; i < print.length; ++i) pool.sum[i] = pool.sum[i]! + weight * print[i]!;
  pool.count += weight;
}

function join(pool: Pool, other: Pool): void {
  for (let i = 0; i < pool.sum.length; ++i) pool.sum[i] = pool.sum[i]! + other.sum[i]!;
  pool.count += other.count;
}

function pooled(evidence: readonly Evidence[][], all: readonly Stretch[]): Pool[] {
  const taken = all.length > MOST_STRETCHES ? spread(0, all.length - 1, MOST_STRETCHES).map((i) => all[i]!) : all;
  return taken.map(({ source, begin, end }) => {
    const pool = { sum: new Float32Array(evidence[0]![0]!.print.length), count: 0 };
    for (const block of evidence.slice(begin, end)) add(pool, block[source]!.print, block[source]!.counts);
    return pool;
  });
}

/** Join pools until so many are left, those first whose union spreads least (Ward's method). */
function grouped(pools: Pool[], groups: number): Pool[] {
  const count = pools.length;
  const cost = new Float32Array(count * count).fill(Infinity);
  const isGone = pools.map(() => false);
  const points = pools.map((pool) => toPoint(pool.sum));
  const renew = (row: number): void => {
    for (let other = 0; other < count; ++other) {
      const isAlive = other !== row && !isGone[other];
      const weight = (pools[row]!.count * pools[other]!.count) / (pools[row]!.count + pools[other]!.count);
      const spread = isAlive ? weight * squaredDistance(points[row]!, points[other]!) : Infinity;
      cost[row * count + other] = cost[other * count + row] = spread;
    }
  };
  for (let row = 0; row < count; ++row) renew(row);
  for (let left = count; left > groups; --left) {
    const best = argleast(cost);
    const kept = Math.floor(best / count);
    const gone = best % count;
    join(pools[kept]!, pools[gone]!);
    points[kept] = toPoint(pools[kept]!.sum);
    isGone[gone] = true;
    for (let i = 0; i < count; ++i) cost[gone * count + i] = cost[i * count + gone] = Infinity;
    renew(kept);
  }
  return pools.filter((_, i) => !isGone[i]);
}

function argleast(numbers: Float32Array): number {
  let best = 0;
  for (let i = 1; i < numbers.length; ++i) if (numbers[i]! < numbers[best]!) best = i;
  return best;
}

/** Return whether two are heard at once: louder than a residue, and not only in moments. */
function areTogether(evidence: readonly Evidence[][]): boolean {
  let heard = 0;
  let together = 0;
  for (const block of evidence) {
    const voices = block.filter(({ counts, active }) => counts > RESIDUE_SHARE * active);
    const [, second] = voices.map(({ active }) => active).sort((a, b) => b - a);
    heard += Math.max(...block.map(({ active }) => active));
    together += second ?? 0;
  }
  return together >= TOGETHER_SHARE * heard;
}

/** Find the most likely order of each block, by how well sources fit talkers (Viterbi). */
function bestPath(
  evidence: readonly Evidence[][],
  talkers: readonly Float32Array[],
  certainty: number,
  orders: readonly Order[],
): number[] {
  const came: number[][] = [];
  let best = orders.map(() => 0);
  evidence.forEach((block, number) => {
    const costs = number > 0 ? costsOf(block, evidence[number - 1]!) : [];
    const reached = orders.map((to, i) => {
      if (number === 0) return { from: i, score: 0 };
      const scores = orders.map((from, j) => best[j]! - changeOf(from, to, costs));
      const from = argmax(scores);
      return { from, score: scores[from]! };
    });
    came.push(reached.map(({ from }) => from));
    const fits = block.map(({ counts, point }) =>
      talkers.map((talker) => -certainty * counts * squaredDistance(point, talker)),
    );
    best = orders.map((order, i) => reached[i]!.score + sum(order.map((source, talker) => fits[source]![talker]!)));
  });
  const path = [argmax(best)];
  for (let block = evidence.length - 1; block > 0; --block) path.push(came[block]![path.at(-1)!]!);
  return path.reverse();
}

/** Return what it costs that a source changes its talker (sources,): more where its sound goes on. */
function costsOf(block: readonly Evidence[], before: readonly Evidence[]): number[] {
  return block.map(({ active }, source) => CHANGE + CHANGE_IN_SOUND * Math.min(active, before[source]!.active));
}

/** Return the cost of the source whose change of talker costs most. */
function changeOf(from: Order, to: Order, costs: readonly number[]): number {
  let change = 0;
  from.forEach((source, talker) => {
    if (source !== to[talker]) change = Math.max(change, costs[source]!, costs[to[talker]!]!);
  });
  return change;
}

/** Learn the talkers' points from what each has of the blocks; who has none is as before. */
function learnt(
  evidence: readonly Evidence[][],
  orders: readonly Order[],
  before: readonly Float32Array[],
): Float32Array[] {
  return before.map((point, talker) => {
    const pool = { sum: new Float32Array(point.length), count: 0 };
    evidence.forEach((block, i) => {
      const { print, counts } = block[orders[i]![talker]!]!;
      add(pool, print, counts ** 2);
    });
    return pool.count > 0 ? toPoint(pool.sum) : point;
  });
}
