/**
 * Who is who in a stream, decided as the sound comes, block by block: the voiceprint of each block and output is
 * compared with the talkers heard so far, and the most likely order of the outputs follows (Viterbi). As in
 * `tisdiss_rt/talkers/causal.py`.
 */

import { ACTIVE_DB } from "./assignment.js";
import { argmax, fadeIn, product, roundEven, sum, zeros } from "./numbers.js";
import { allOrders, type Order } from "./order.js";
import { squaredDistance, toPoint, type Voiceprints } from "./voiceprints.js";

export const CHANGE = 4; // cost of another order in a pause,
export const CHANGE_IN_SOUND = 4; // and what sound adds
export const FADE_S = 0.008; // from one order to another, at most the piece
export const QUIET = 1e-4; // power that a stream is taken to have at least
export const LEVEL_HALF_LIFE_S = 30; // of the stream's level, when it gets quieter
export const TALKER_HALF_LIFE_S = 60; // of what is known of a talker, while there is speech
export const KNOWN = 0.02; // blocks from which on anything is known of a talker
export const DOUBT = 1; // blocks of a talker that count as much as that they might be anybody

const TINY = 1e-20; // against division by nothing

/** Keeps every talker of a stream on one output. */
export class CausalOrder {
  private readonly block: number;
  private readonly blockS: number;
  private readonly rising: Float32Array;
  private readonly orders: readonly Order[];
  private heard: Float32Array[] = []; // the block before, and the newest as far as it came (sources, 2 blocks)
  private filled = 0; // samples of the newest block
  private level = QUIET;
  private active: number[] = []; // of each source in the block before
  private sums: Float32Array[] = []; // of the talkers (talkers, size)
  private known: number[] = []; // blocks of each talker
  private scores: number[] = []; // of the orders
  private order: Order = [];

  constructor(
    private readonly voiceprints: Voiceprints,
    private readonly sources: number,
    sampleRate: number,
  ) {
    this.block = voiceprints.block;
    this.blockS = this.block / sampleRate;
    this.rising = fadeIn(roundEven(FADE_S * sampleRate));
    this.orders = allOrders(sources);
    this.reset();
  }

  /** Forget the talkers. */
  reset(): void {
    this.heard = zeros(this.sources, 2 * this.block);
    this.filled = 0;
    this.level = QUIET;
    this.active = this.heard.map(() => 0);
    this.sums = zeros(this.sources, this.voiceprints.size);
    this.known = this.heard.map(() => 0);
    this.scores = this.orders.map(() => 0);
    this.order = this.orders[0]!;
  }

  /** Return whether a block ends with a piece of so many samples, which takes longer than other pieces. */
  endsBlock(samples: number): boolean {
    return this.filled + samples >= this.block;
  }

  /** Put the next piece (sources, m) of what was separated into the order of the talkers. */
  async inOrder(piece: readonly Float32Array[]): Promise<Float32Array[]> {
    const before = this.order;
    const samples = piece[0]!.length;
    for (let taken = 0; taken < samples; ) {
      const count = Math.min(samples - taken, this.block - this.filled);
      const at = this.block + this.filled;
      this.heard.forEach((voice, source) => voice.set(piece[source]!.subarray(taken, taken + count), at));
      taken += count;
      this.filled += count;
      if (this.filled === this.block) await this.hear();
    }
    const ordered = this.order.map((source) => piece[source]!.slice());
    if (this.order === before) return ordered;
    const fade = Math.min(this.rising.length, samples);
    ordered.forEach((voice, output) => {
      const old = piece[before[output]!]!;
      for (let i = 0; i < fade; ++i) voice[i] = old[i]! + this.rising[i]! * (voice[i]! - old[i]!);
    });
    return ordered;
  }

  /** Decide the order by the newest block and the one before it, and learn from it. */
  private async hear(): Promise<void> {
    this.filled = 0;
    const prints = (await this.voiceprints.describe(this.heard))[1]!;
    const { counts, sound } = this.weigh();
    const fits = this.fit(prints, counts);
    const changed = Math.max(...this.scores) - (CHANGE + CHANGE_IN_SOUND * sound);
    const scores = this.scores.map((score, i) => {
      const fit = sum(this.orders[i]!.map((source, talker) => fits[source]![talker]!));
      return Math.max(score, changed) + fit;
    });
    const best = argmax(scores);
    this.order = this.orders[best]!;
    this.scores = scores.map((score, i) => (this.onlyRenames(i, best) ? -Infinity : score - scores[best]!));
    this.learn(prints, counts);
    for (const voice of this.heard) voice.copyWithin(0, this.block);
  }

  /** Return whether an order differs from another by talkers alone of whom nothing is known. */
  private onlyRenames(order: number, other: number): boolean {
    const [one, two] = [this.orders[order]!, this.orders[other]!];
    return order !== other && one.every((source, talker) => this.known[talker]! <= KNOWN || source === two[talker]);
  }

  /** Return how much each source says in the newest block, 0 to 1, and how much sound goes on from the one before. */
  private weigh(): { counts: number[]; sound: number } {
    const newest = this.heard.map((voice) => voice.subarray(this.block));
    const power = newest.map((part) => product(part, part) / this.block);
    const total = sum(power);
    const kept = this.level * 0.5 ** (this.blockS / LEVEL_HALF_LIFE_S);
    this.level = Math.max(total, kept, QUIET);
    const active = power.map((one) => one / (one + this.level * 10 ** (ACTIVE_DB / 10) + TINY));
    const sound = Math.max(...active.map((one, source) => Math.min(one, this.active[source]!)));
    this.active = active;
    return { counts: active.map((one, source) => (one * power[source]!) / (total + TINY)), sound };
  }

  /** Return how well each source (sources, size) fits each talker: (sources, talkers). */
  private fit(prints: readonly Float32Array[], counts: readonly number[]): number[][] {
    const { same, certainty } = this.voiceprints;
    const talkers = this.sums.map(toPoint);
    return prints.map((print, source) => {
      const point = toPoint(print);
      const distances = talkers.map((talker, i) => {
        const known = this.known[i]!;
        return same + (known / (known + DOUBT)) * (squaredDistance(point, talker) - same);
      });
      return distances.map((distance) => -certainty * counts[source]! * distance);
    });
  }

  /** Add what the talkers have said in a block. */
  private learn(prints: readonly Float32Array[], counts: readonly number[]): void {
    const keep = 0.5 ** ((this.blockS * sum(counts)) / TALKER_HALF_LIFE_S);
    this.order.forEach((source, talker) => {
      const weight = counts[source]! ** 2;
      this.sums[talker] = this.sums[talker]!.map((one, i) => keep * one + weight * prints[source]![i]!);
      this.known[talker] = keep * this.known[talker]! + weight;
    });
  }
}
