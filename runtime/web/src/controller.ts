/**
 * The latency budget within a step. Stem, `minDepth` repetitions and the decoder always run; before each further
 * repetition the controller asks whether that repetition and the decoder are expected to finish within the budget:
 *
 *     0 ms                      elapsed                                  budgetMs
 *     |---- stem ----|-- rep --|-- rep --|.. one more? ..|.. decoder ..|      |
 *
 * As in `tisdiss_rt/planning/controller.py`: same decisions from the same times.
 */

import type { StepEngine } from "./engine.js";
import { Forecast, type Timings } from "./forecast.js";
import type { Need } from "./need.js";
import type { Plan, StepResult } from "./plan.js";

/** Milliseconds, as `performance.now`. */
export type Clock = () => number;

export const RETRY_STEPS = 128; // without a repetition, where none must run; then one runs, to see what it takes now

export const nowMs: Clock = () => performance.now();

/**
 * Separate one window within the plan and remember how long each graph took.
 *
 * @param engine runs the graphs.
 * @param mix (samples,) at the bundle's sample rate.
 * @param plan bounds of the depth, and the budget.
 * @param timings measurements for this window length; used for prediction and added to.
 * @param need takes what repetitions change, and may end the step before time does; only with a bundle that tells
 *   changes. Whether a voice is alone is not asked with a budget, which counts on one decoder.
 */
export async function runStep(
  engine: StepEngine,
  mix: Float32Array,
  plan: Plan,
  timings: Timings,
  need: Need | null = null,
  clock: Clock = nowMs,
): Promise<StepResult> {
  const beginMs = clock();
  const timed = async (call: () => Promise<unknown>): Promise<number> => {
    const beforeMs = clock();
    await call();
    return clock() - beforeMs;
  };
  const forecast = plan.budgetMs === null ? null : new Forecast(plan.budgetMs, timings);
  need?.begin();
  timings.stem.add(await timed(() => engine.start(mix)));
  let expectedMs = timings.stepMs(0);
  let repetitionsMs = 0;
  let lastMs = 0;
  let depth = 0;
  let decoderMs = 0;
  const decode = async (): Promise<Float32Array[]> => {
    const beforeMs = clock();
    const estimate = await engine.decode();
    decoderMs = clock() - beforeMs;
    return estimate;
  };
  let voices: Float32Array[] | null = null; // at the depth of now, where they are known
  const asksForMore = async (): Promise<boolean> => {
    if (need === null) return true;
    if (forecast === null && need.tellsAlone()) {
      voices = await decode();
      const alone = need.alone(mix, voices);
      if (alone !== null) {
        voices = alone;
        return false;
      }
    }
    return need.asksForMore();
  };
  for (; ; ++depth) {
    const mustRun = forecast !== null && depth < plan.minDepth;
    if ((!mustRun && !(await asksForMore())) || depth === plan.maxDepth) break;
    let slowdown = 1;
    if (forecast !== null) {
      const now = clock() - beginMs;
      slowdown = forecast.slowdown(now, depth, lastMs);
      const doneMs = now + forecast.finishMs(slowdown);
      if (!mustRun && doneMs > forecast.readyMs) {
        if (depth > 0 || timings.skipped < RETRY_STEPS) break;
        // None ran for long. This one tells what they take now, instead of what they took then.
        timings.repetition.clear();
        timings.overrun.clear();
      }
      expectedMs = doneMs;
    }
    voices = null;
    lastMs = await timed(async () => {
      await engine.repeat();
      if (need !== null) need.add(engine.change!);
    });
    repetitionsMs += lastMs;
    if (forecast !== null) timings.overrun.add(lastMs / forecast.repetitionMs(slowdown));
  }
  if (depth > 0) timings.repetition.add(repetitionsMs / depth);
  const estimate = voices ?? (await decode());
  timings.decoder.add(decoderMs);
  const elapsedMs = clock() - beginMs;
  if (forecast !== null) {
    timings.skipped = depth > 0 ? 0 : timings.skipped + 1;
    timings.lateSteps.add(forecast.countedMs(elapsedMs - expectedMs, plan.minDepth), plan.advanceS);
  }
  return { estimate, depth, elapsedMs, missed: plan.budgetMs !== null && elapsedMs > plan.budgetMs };
}
