/** The last seconds of a stream: from them it is told, once a second, how good its voices are. */

import type { Changes, Estimated, Estimator } from "./estimate.js";
import { isSilent, roundEven } from "./numbers.js";

export const WINDOW_S = 2; // that an estimate is of
export const EVERY_S = 1; // from one estimate to the next

/** Follows a stream step by step. */
export class Trailing {
  private readonly window: number; // samples
  private readonly every: number; // steps
  private readonly kept: number; // steps of a window
  private readonly ahead: number; // steps by which the mixture is ahead, at most
  private mix: Float32Array[] = []; // the newest steps
  private voices: (readonly Float32Array[])[] = [];
  private changes: Changes[] = [];
  private steps = 0;

  /**
   * @param stepSamples length of a step.
   * @param delaySamples by which voices are behind the mixture.
   */
  constructor(
    private readonly estimator: Estimator,
    sampleRate: number,
    stepSamples: number,
    private readonly delaySamples: number,
  ) {
    this.window = roundEven(WINDOW_S * sampleRate);
    this.every = Math.max(1, roundEven((EVERY_S * sampleRate) / stepSamples));
    this.kept = Math.ceil(this.window / stepSamples);
    this.ahead = Math.ceil(delaySamples / stepSamples);
  }

  /** Forget the stream. */
  reset(): void {
    this.mix = [];
    this.voices = [];
    this.changes = [];
    this.steps = 0;
  }

  /**
   * Take a step (samples,), its voices (sources, samples), and what its repetitions changed.
   *
   * @returns how good each voice is expected to be, in every second once there is a whole window; else null.
   */
  add(mix: Float32Array, voices: readonly Float32Array[], changes: Changes): (Estimated | null)[] | null {
    push(this.mix, mix, this.kept + this.ahead);
    push(this.voices, voices, this.kept);
    push(this.changes, changes, this.kept);
    this.steps += 1;
    if (this.mix.length < this.kept + this.ahead || this.steps % this.every !== 0) return null;
    const whole = joined(this.mix);
    const heard = whole.subarray(0, whole.length - this.delaySamples).slice(-this.window);
    if (isSilent(heard)) return null;
    const separated = voices.map((_, source) => joined(this.voices.map((step) => step[source]!)).slice(-this.window));
    return this.estimator.voices(heard, separated, this.meanChanges());
  }

  /** Return the root mean square of what each repetition changed, of as many as the mean step ran. */
  private meanChanges(): number[][] {
    const depths = this.changes.map((changes) => changes.length);
    const depth = roundEven(depths.reduce((total, one) => total + one, 0) / depths.length);
    return Array.from({ length: depth }, (_, repetition) => {
      const ran = this.changes.filter((changes) => changes.length > repetition).map((changes) => changes[repetition]!);
      const squares = (source: number): number => ran.reduce((total, one) => total + one[source]! ** 2, 0);
      return ran[0]!.map((_, source) => Math.sqrt(squares(source) / ran.length));
    });
  }
}

function push<T>(newest: T[], one: T, most: number): void {
  newest.push(one);
  if (newest.length > most) newest.shift();
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
