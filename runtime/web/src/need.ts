/**
 * Depth by need: a repetition runs only where it is expected to add enough.
 *
 * What it will add is estimated from how much the repetitions before it changed the voices' maps. Where steps are too
 * short to judge each by itself, the changes are averaged over the steps before. A window in which one voice is alone,
 * without noise, needs no separation: the first repetition tells it by its voices.
 */

import type { Estimator } from "./estimate.js";

/** Follows the repetitions of steps, one step after the other. */
export class Need {
  /** How much each repetition of the step under way changed the voices' maps (sources,). */
  changes: readonly number[][] = [];
  private squares: number[][] = []; // averages of the squared changes of each repetition

  /**
   * @param windowS length of a step, or of what its changes are averaged over.
   * @param minGainDb what another repetition has to add, in dB; null for anything.
   * @param share of a step in the average of its changes with those of the steps before it; 1 for windows, which
   *   stand for themselves.
   */
  constructor(
    private readonly estimator: Estimator,
    private readonly windowS: number,
    private readonly minGainDb: number | null,
    private readonly share = 1,
  ) {}

  /** Forget the steps before. */
  reset(): void {
    this.changes = [];
    this.squares = [];
  }

  /** Begin a step. */
  begin(): void {
    this.changes = [];
  }

  /** Take the change (sources,) of the next repetition. */
  add(change: Float32Array): void {
    const number = this.changes.length;
    const newest = Array.from(change, (one) => one * one);
    const before = this.squares[number] ?? newest;
    const average = before.map((square, source) => square + this.share * (newest[source]! - square));
    this.squares[number] = average;
    this.changes = [...this.changes, average.map(Math.sqrt)];
  }

  /** Return whether the next repetition is expected to add enough; the first one always is. */
  asksForMore(): boolean {
    if (this.minGainDb === null || this.changes.length === 0) return true;
    return this.estimator.gainDb(this.changes, this.windowS) >= this.minGainDb;
  }

  /** Return whether the voices at this depth would tell that one is alone, which needs no more. */
  tellsAlone(): boolean {
    return this.minGainDb !== null && this.estimator.tellsAlone(this.changes.length);
  }

  /** Return the voices of a window in which one is alone, else null; see `Estimator.alone`. */
  alone(mix: Float32Array, voices: readonly Float32Array[]): Float32Array[] | null {
    return this.estimator.alone(mix, voices);
  }
}
