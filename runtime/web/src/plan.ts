/** What every step of a separation may do, and what was done. */

import type { Estimated } from "./estimate.js";
import { advanceS, lengthSamples, qualityDb, type Manifest } from "./manifest.js";

/** What every step will do. */
export interface Plan {
  /** Length of a window or step in seconds. */
  readonly windowS: number;
  /** The same in samples at the bundle's rate. */
  readonly windowSamples: number;
  /** Distance between the starts of two steps: less than the window where windows overlap. */
  readonly advanceS: number;
  /** The depth that the planner expects. */
  readonly depth: number;
  /** The least and the greatest depth that the controller may choose. */
  readonly minDepth: number;
  readonly maxDepth: number;
  /** Time that a step may take; null where time does not matter. */
  readonly budgetMs: number | null;
  /** Predicted time of a step at `depth`; null where unknown. Beyond the budget, not even the least depth fits. */
  readonly predictedMs: number | null;
  /** SI-SDR improvement that the manifest promises at `depth`; null where unknown. */
  readonly qualityDb: number | null;
  /** What a repetition must be expected to add, or it and all further ones are left out; null for anything. */
  readonly minGainDb: number | null;
}

/** Record of one window, or of one step of a stream. */
export interface Step {
  readonly startS: number;
  readonly windowS: number;
  /** Repetitions that ran; 0 for a silent window, which runs nothing. */
  readonly depth: number;
  readonly elapsedMs: number;
  /** Whether that was longer than the budget. */
  readonly missed: boolean;
  /**
   * How good each voice is expected to be, in the order of the sources, null for one that does not talk. Null where
   * the bundle does not tell, and of streams for all steps but the last of each second.
   */
  readonly voices: readonly (Estimated | null)[] | null;
}

/** Result of a step: the estimate (sources, samples), the depth that ran, and the time it took. */
export interface StepResult {
  readonly estimate: Float32Array[];
  readonly depth: number;
  readonly elapsedMs: number;
  readonly missed: boolean;
}

/** Return the plan without a budget: always the same depth. */
export function fixedPlan(manifest: Manifest, windowS: number, depth: number): Plan {
  return {
    windowS,
    windowSamples: lengthSamples(manifest, windowS),
    advanceS: advanceS(manifest, windowS),
    depth,
    minDepth: depth,
    maxDepth: depth,
    budgetMs: null,
    predictedMs: null,
    qualityDb: qualityDb(manifest, windowS).get(depth) ?? null,
    minGainDb: null,
  };
}

/** Return the mean estimate of the voices of steps; null where there is none. */
export function meanOf(steps: readonly Step[]): Estimated | null {
  const told = steps.flatMap((step) => step.voices ?? []).filter((voice) => voice !== null);
  if (told.length === 0) return null;
  const mean = (of: (voice: Estimated) => number): number =>
    told.reduce((total, voice) => total + of(voice), 0) / told.length;
  return { siSdrDb: mean((v) => v.siSdrDb), lowDb: mean((v) => v.lowDb), highDb: mean((v) => v.highDb) };
}
