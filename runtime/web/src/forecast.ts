/**
 * What the rest of a step will take, from what the graphs took here, and how early to plan to be ready.
 *
 * `tisdiss_rt/planning/forecast.py` explains it; from the same times follow the same decisions.
 */

export const MARGIN = 0.04; // of the budget, to be ready earlier by
export const QUANTILE = 0.95;
export const HISTORY = 64; // measurements remembered of each graph
export const MEMORY_STEPS = 3000; // for which pauses are remembered
export const TOLERATED = 4; // pauses within that time that may make a step late
export const CALM_S = 0.9; // pauses are over after so much audio,
export const CALM_GAPS = 3; // and so many times the gap between them
export const MOST_LATE_STEPS = 512;
export const LEAST_MS = 1e-3; // that a graph takes

/** The newest numbers, oldest first. */
export class History {
  private values: number[] = [];

  add(value: number): void {
    if (this.values.length === HISTORY) this.values.shift();
    this.values.push(value);
  }

  clear(): void {
    this.values = [];
  }

  clone(): History {
    const copy = new History();
    copy.values = [...this.values];
    return copy;
  }

  get isEmpty(): boolean {
    return this.values.length === 0;
  }

  /** The high quantile that predictions are made from; the largest of a few values. */
  get high(): number {
    return high(this.values);
  }

  /** The lower one of the two in the middle. */
  get median(): number {
    return this.ranked(Math.floor((this.values.length - 1) / 2));
  }

  private ranked(rank: number): number {
    return Float64Array.from(this.values).sort()[rank] ?? 0;
  }
}

/** Return the high quantile that predictions are made from; the largest of a few values, 0 of none. */
export function high(values: readonly number[]): number {
  return Float64Array.from(values).sort()[Math.ceil(QUANTILE * values.length) - 1] ?? 0;
}

interface LateStep {
  readonly step: number;
  readonly lateMs: number; // than the last decision expected
  readonly isOver: boolean;
}

/**
 * By how much steps were later than expected, and how early the next one must plan to be ready.
 *
 * The worst `TOLERATED` of `MEMORY_STEPS` do not count, and the next one sets the time. Pauses are over when none at
 * least half as long has come for `CALM_S`, and for `CALM_GAPS` times the mean gap between them.
 */
export class LateSteps {
  private step = 0;
  private late: LateStep[] = []; // oldest first

  /** Record the next step, this long after the last; discard what is over. */
  add(lateMs: number, stepS: number): void {
    this.step += 1;
    if (lateMs > 0) {
      this.late.push({ step: this.step, lateMs, isOver: false });
      if (this.late.length > MOST_LATE_STEPS) this.late.shift();
    }
    while (this.late.length && this.late[0]!.step <= this.step - MEMORY_STEPS) this.late.shift();
    for (let earlyMs = this.earlyMs; earlyMs > 0; earlyMs = this.earlyMs) {
      const alike = this.late.filter((late) => late.lateMs >= earlyMs / 2);
      const first = alike[0]!.step;
      const last = alike.at(-1)!.step;
      const gap = (last - first) / (alike.length - 1);
      if (this.step - last < Math.max(Math.trunc(CALM_S / stepS), CALM_GAPS * gap)) break;
      this.late = this.late.map((late) => ({ ...late, isOver: late.isOver || late.lateMs >= earlyMs / 2 }));
    }
  }

  /** How early to plan to be ready: the worst lateness that is not tolerated; 0 if none. */
  get earlyMs(): number {
    if (this.late.length <= TOLERATED) return 0;
    const counting = this.late.filter((late) => !late.isOver).map((late) => late.lateMs);
    return counting.sort((a, b) => b - a)[TOLERATED] ?? 0;
  }

  clone(): LateSteps {
    const copy = new LateSteps();
    copy.step = this.step;
    copy.late = [...this.late];
    return copy;
  }
}

/** Milliseconds that each graph took in the last steps on this machine, for one window length. */
export class Timings {
  constructor(
    readonly stem = new History(),
    /** Mean time of a repetition in each step. */
    readonly repetition = new History(),
    readonly decoder = new History(),
    /** How many times as long as expected single repetitions took. */
    readonly overrun = new History(),
    /** By how much steps were late. */
    readonly lateSteps = new LateSteps(),
    /** Number of consecutive steps, up to the last, that ran no repetition. */
    public skipped = 0,
  ) {}

  /** Return the predicted time of a whole step that has not begun. */
  stepMs(depth: number): number {
    return this.stem.high + depth * this.repetition.high + this.decoder.high;
  }

  clone(): Timings {
    const { stem, repetition, decoder, overrun, lateSteps, skipped } = this;
    return new Timings(
      stem.clone(),
      repetition.clone(),
      decoder.clone(),
      overrun.clone(),
      lateSteps.clone(),
      skipped,
    );
  }
}

/** How long the rest of a step will take, from what was measured and the slowdown of the step until now. */
export class Forecast {
  /** When to plan to be ready. */
  readonly readyMs: number;
  private readonly stemMs: number;
  private readonly usualMs: number; // of a repetition
  private readonly decoderMs: number;
  private readonly overrun: number;

  constructor(
    private readonly budgetMs: number,
    timings: Timings,
  ) {
    this.readyMs = Math.min(budgetMs - timings.lateSteps.earlyMs, plannedMs(budgetMs));
    this.stemMs = Math.max(LEAST_MS, timings.stem.median);
    this.usualMs = Math.max(LEAST_MS, timings.repetition.median);
    this.decoderMs = Math.max(LEAST_MS, timings.decoder.median);
    this.overrun = timings.overrun.isEmpty ? timings.repetition.high / this.usualMs : timings.overrun.high;
  }

  /** Return how many times as long as usual the step has taken, or its last repetition; at least 1. */
  slowdown(elapsedMs: number, depth: number, lastMs: number): number {
    return Math.max(1, elapsedMs / (this.stemMs + depth * this.usualMs), lastMs / this.usualMs);
  }

  /** Return the expected time of a repetition. */
  repetitionMs(slowdown: number): number {
    return slowdown * this.usualMs;
  }

  /** Return the time within which one more repetition and the decoder are expected to finish. */
  finishMs(slowdown: number): number {
    return slowdown * (this.overrun * this.usualMs + this.decoderMs);
  }

  /** Return this lateness if planning to be ready earlier helps against it, otherwise 0. */
  countedMs(lateMs: number, minDepth: number): number {
    const leastMs = this.stemMs + minDepth * this.usualMs + this.decoderMs;
    const helps = (MARGIN * this.budgetMs) / 2 < lateMs && lateMs <= this.budgetMs - leastMs;
    return helps ? lateMs : 0;
  }
}

/** Return the part of a budget that repetitions beyond the least may use. */
export function plannedMs(budgetMs: number): number {
  return (1 - MARGIN) * budgetMs;
}
