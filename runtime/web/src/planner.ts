/** Plans for the steps of a separation: options are checked, the machine is measured, and plans are kept. */

import { nowMs, runStep, type Clock } from "./controller.js";
import type { StepEngine } from "./engine.js";
import { OptionError } from "./errors.js";
import { Timings, plannedMs } from "./forecast.js";
import { ESTIMATE, lengthSamples, lengthsS, partOf, qualityDb, type Manifest } from "./manifest.js";
import { fixedPlan, type Plan } from "./plan.js";

export const MEASURED_STEPS = 3;
export const MEASURED_DEPTH = 2;
export const MEASURING_S = 0.5; // stop measuring a window after this time
export const NOISE_LEVEL = 0.1; // root mean square, where full scale is 1

/** How deep to go, and in which windows. Budget and depth exclude each other; with neither, the trained depth. */
export interface PlanOptions {
  /** Milliseconds that a window or step may take; window and depth follow from it. */
  readonly budgetMs?: number;
  /** Repetitions of the block. */
  readonly depth?: number;
  /** Repetitions that always run, with a budget; by default 1. */
  readonly minDepth?: number;
  /** A repetition runs only where it is expected to add as many dB. */
  readonly minGainDb?: number;
  /** Length of the windows in seconds, by default as planned for the budget, or the longest. */
  readonly windowS?: number;
}

/** Makes the plans for a bundle, one for each combination of options. */
export class Planner {
  /** What was measured here, or is being measured, by the length of windows or steps in samples. */
  private readonly timings = new Map<number, Promise<Timings>>();
  private readonly plans = new Map<string, Plan>();

  /** @param open makes steps for measuring that can run so many repetitions. */
  constructor(
    private readonly manifest: Manifest,
    private readonly open: (depth: number) => StepEngine,
    private readonly clock: Clock = nowMs,
  ) {}

  /**
   * Choose window and depth. With a budget this measures the machine; if not even the least work fits, the plan's
   * `predictedMs` is beyond it. Throws OptionError.
   */
  async plan(options: PlanOptions = {}): Promise<Plan> {
    const { budgetMs, depth, minDepth = 1, minGainDb = null, windowS } = options;
    this.check(options);
    const key = JSON.stringify([budgetMs, depth, minDepth, windowS]);
    const plan = this.plans.get(key) ?? (await this.make(options));
    this.plans.set(key, plan);
    return { ...plan, minGainDb };
  }

  /** Return the times of windows or steps of this many samples, measured the first time. */
  measure(samples: number): Promise<Timings> {
    const known = this.timings.get(samples);
    if (known !== undefined) return known;
    const timings = this.measureSteps(samples);
    this.timings.set(samples, timings);
    timings.catch(() => this.timings.delete(samples));
    return timings;
  }

  /** Keep newer times for later plans. */
  keep(samples: number, timings: Timings): void {
    this.timings.set(samples, Promise.resolve(timings));
  }

  /** Time a few steps on noise, after one to warm up. */
  private async measureSteps(samples: number): Promise<Timings> {
    const depth = Math.min(MEASURED_DEPTH, this.manifest.depth.max);
    const engine = this.open(depth);
    const mix = noise(samples);
    const plan = fixedPlan(this.manifest, samples / this.manifest.sampleRate, depth);
    await runStep(engine, mix, plan, new Timings(), null, this.clock);
    const timings = new Timings();
    const beginMs = this.clock();
    for (let step = 0; step < MEASURED_STEPS; ++step) {
      await runStep(engine, mix, plan, timings, null, this.clock);
      if (this.clock() - beginMs > 1e3 * MEASURING_S) break;
    }
    engine.reset();
    return timings;
  }

  private check({ budgetMs, depth, minDepth = 1, minGainDb, windowS }: PlanOptions): void {
    const need = (condition: boolean, message: string): void => {
      if (!condition) throw new OptionError(message);
    };
    need(budgetMs === undefined || depth === undefined, "a budget and a fixed depth exclude each other");
    const isBudget = budgetMs === undefined || (budgetMs > 0 && budgetMs < Infinity);
    need(isBudget, `the budget must be above 0 ms, not ${budgetMs}`);
    const most = this.manifest.depth.max;
    for (const [name, value] of [["depth", depth], ["minimum depth", minDepth]] as const) {
      const isDepth = value === undefined || (Number.isInteger(value) && 0 <= value && value <= most);
      need(isDepth, `the ${name} must be from 0 to ${most} for this bundle, not ${value}`);
    }
    lengthsS(this.manifest, windowS);
    if (minGainDb === undefined) return;
    need(0 <= minGainDb && minGainDb < Infinity, `the least gain must be from 0 dB on, not ${minGainDb}`);
    const tells = partOf(this.manifest, ESTIMATE) !== null;
    need(tells, `bundle ${this.manifest.name} cannot tell what a repetition adds: export it with --calibrate`);
  }

  private async make({ budgetMs, depth, minDepth = 1, windowS }: PlanOptions): Promise<Plan> {
    const lengths = lengthsS(this.manifest, windowS);
    if (budgetMs !== undefined) return this.budgetPlan(lengths, budgetMs, minDepth);
    return fixedPlan(this.manifest, lengths.at(-1)!, depth ?? this.manifest.depth.trained);
  }

  /**
   * Choose the pair of window and depth of best measured quality whose predicted time fits.
   *
   * Without a measurement in the manifest, depth counts most, up to the trained one, then a longer window. The most
   * that a step may do is the depth of best measured quality for its window, or the trained depth. If none fits, the
   * first window at `minDepth`.
   */
  private async budgetPlan(lengths: readonly number[], budgetMs: number, minDepth: number): Promise<Plan> {
    const { trained } = this.manifest.depth;
    let best: Plan | undefined;
    let bestRank: readonly number[] = [];
    for (const windowS of lengths) {
      const timings = await this.measure(lengthSamples(this.manifest, windowS));
      const quality = qualityDb(this.manifest, windowS);
      const limit = Math.max(minDepth, bestDepth(quality) ?? trained);
      for (let depth = minDepth; depth <= limit; ++depth) {
        const predictedMs = timings.stepMs(depth);
        if (best && predictedMs > plannedMs(budgetMs)) break;
        const rank = [quality.get(depth) ?? -Infinity, Math.min(depth, trained), windowS];
        if (best && !isGreater(rank, bestRank)) continue;
        bestRank = rank;
        const bounds = { minDepth, maxDepth: limit, budgetMs, predictedMs };
        best = { ...fixedPlan(this.manifest, windowS, depth), ...bounds };
      }
      if (timings.stepMs(minDepth) > budgetMs) break;
    }
    return best!;
  }
}

/** Return the first depth of best quality, or undefined where nothing was measured. */
function bestDepth(quality: ReadonlyMap<number, number>): number | undefined {
  let best: number | undefined;
  for (const [depth, db] of quality) if (best === undefined || db > quality.get(best)!) best = depth;
  return best;
}

/** Return whether a list of numbers comes after another one in the order of their first difference. */
function isGreater(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((number, i) => number !== b[i]);
  return at >= 0 && a[at]! > b[at]!;
}

/** Return noise (samples,) to run a network on, always the same; silence may take another time. */
export function noise(samples: number): Float32Array {
  let state = 1;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  const normal = (): number => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return Float32Array.from({ length: samples }, () => NOISE_LEVEL * normal());
}
