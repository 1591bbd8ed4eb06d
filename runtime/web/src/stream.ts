/**
 * Live sound in chunks of any size, at the rate of a streaming bundle. The output is the input's timeline from its
 * first sample on: it only comes later. With a latency of two steps:
 *
 *     pushed        | step 0 | step 1 | step 2 | step 3 |              flush pushes zeros
 *     steps give    | before | step 0 | step 1 | step 2 |
 *                   |  drop  |
 */

import { checkLevel, checkMix } from "./audio.js";
import { CausalOrder } from "./causal.js";
import { nowMs, runStep } from "./controller.js";
import type { Engine, StepEngine } from "./engine.js";
import { AudioError, OptionError } from "./errors.js";
import { estimatorOf, type Estimated } from "./estimate.js";
import { high, History, type Timings } from "./forecast.js";
import { qualityDb, type StreamTiming } from "./manifest.js";
import { Need } from "./need.js";
import { zeros } from "./numbers.js";
import type { Plan, Step, StepResult } from "./plan.js";
import { Trailing, WINDOW_S } from "./trailing.js";
import type { Voiceprints } from "./voiceprints.js";

export const STEPS_KEPT = 1000;
export const AVERAGE_S = 0.5; // over which steps tell what repetitions change: a single one says little

/** Milliseconds from a sound going in to the same sound coming out, by cause, without chunks and devices. */
export interface Latency {
  /** Collecting a step, and the samples that the network needs beyond it. */
  readonly algorithmic: number;
  /** The budget; without one, a high quantile of the times of recent steps, 0 before the first. */
  readonly compute: number;
  readonly total: number;
}

/** Separates live sound chunk by chunk. Opened by `Separator.stream`; one call at a time. */
export class Stream {
  /** Records of the latest steps since the beginning or the last reset. */
  steps: Step[] = [];
  /** Number of steps at each depth. */
  depthCounts = new Map<number, number>();
  /** Number of steps that took longer than the budget. */
  misses = 0;
  /** How good each source is expected to be, of the last two seconds and renewed every second; null before that. */
  voices: readonly (Estimated | null)[] | null = null;
  /** The plan of each step: the bounds of its depth. */
  plan: Plan;

  private readonly engine: Engine;
  private readonly opened: Plan; // as the stream was opened
  private readonly timing: StreamTiming;
  private readonly stepsOfNetwork: StepEngine;
  private readonly talkers: CausalOrder | null;
  private readonly blocksMs = new History(); // that it took to tell who is who, at the end of a block
  private readonly need: Need | null;
  private readonly trailing: Trailing | null;
  private readonly waiting: Float32Array; // the next step
  private filled = 0; // samples of it
  private toDrop = 0; // samples that come out before the first
  private owed = 0; // samples that came in and did not come out yet
  private count = 0; // of steps
  private state: "open" | "busy" | "ended" | "failed" = "open";

  /**
   * @param timings what the controller predicts from and adds to; not shared with another stream.
   * @param voiceprints decide who is who; null leaves that to the network.
   * @param stepsKept how many of the latest steps `steps` holds.
   */
  constructor(
    engine: Engine,
    plan: Plan,
    private readonly timings: Timings,
    voiceprints: Voiceprints | null,
    private readonly stepsKept = STEPS_KEPT,
  ) {
    const { manifest } = engine;
    this.engine = engine;
    this.timing = manifest.stream!;
    this.plan = this.opened = plan;
    const steps = engine.steps(plan.maxDepth);
    const talkers = voiceprints && new CausalOrder(voiceprints, manifest.sources, manifest.sampleRate);
    this.stepsOfNetwork = steps;
    this.talkers = talkers;
    const estimator = estimatorOf(manifest);
    const share = Math.min(1, plan.advanceS / AVERAGE_S);
    this.need = estimator && new Need(estimator, WINDOW_S, plan.minGainDb, share);
    const { stepSamples, latencySamples } = this.timing;
    this.trailing =
      estimator && new Trailing(estimator, manifest.sampleRate, stepSamples, latencySamples - stepSamples);
    this.waiting = new Float32Array(stepSamples);
    this.reset();
  }

  /** Length of a step in seconds. */
  get stepS(): number {
    return this.timing.stepSamples / this.engine.manifest.sampleRate;
  }

  /** Depth of the last step; 0 before the first. */
  get depth(): number {
    return this.steps.at(-1)?.depth ?? 0;
  }

  /** Delay of the output behind the input, by cause. */
  get latencyMs(): Latency {
    const algorithmic = (1e3 * this.timing.latencySamples) / this.engine.manifest.sampleRate;
    const compute = this.plan.budgetMs ?? high(this.steps.map((step) => step.elapsedMs));
    return { algorithmic, compute, total: algorithmic + compute };
  }

  /** Begin anew, as if just opened, but keep what was measured about the machine's speed. */
  reset(): void {
    if (this.state === "busy") throw new AudioError("the stream is busy: await each call before the next one");
    this.stepsOfNetwork.reset();
    this.talkers?.reset();
    this.need?.reset();
    this.trailing?.reset();
    this.plan = this.opened;
    this.steps = [];
    this.depthCounts = new Map();
    this.misses = 0;
    this.voices = null;
    this.filled = this.owed = this.count = 0;
    this.toDrop = this.timing.latencySamples - this.timing.stepSamples;
    this.state = "open";
  }

  /** Let the next steps run another depth, up to the one that the stream was opened with. Throws OptionError. */
  setDepth(depth: number): void {
    if (this.plan.budgetMs !== null) {
      throw new OptionError("the budget chooses the depth: open the stream without one");
    }
    this.checked(depth);
    const promised = qualityDb(this.engine.manifest, this.plan.windowS).get(depth) ?? null;
    this.plan = { ...this.plan, depth, minDepth: depth, maxDepth: depth, qualityDb: promised };
  }

  /** Let the next steps run at least a depth, whether there is time for it or not. Throws OptionError. */
  setMinDepth(depth: number): void {
    if (this.plan.budgetMs === null) throw new OptionError("without a budget, the depth is fixed: use setDepth");
    this.plan = { ...this.plan, minDepth: this.checked(depth) };
  }

  /**
   * Push a chunk, and return the output that has become ready.
   *
   * @param chunk (n,) at the bundle's rate, any n including 0.
   * @returns (sources, m); m may be 0.
   * @throws AudioError where the chunk has NaN, infinity or values far beyond full scale (the stream continues as if it
   *   had not been pushed), where the stream has ended, or where a call is under way.
   * @throws BundleError where the network failed; the stream must be reset.
   */
  async process(chunk: Float32Array): Promise<Float32Array[]> {
    this.refuseUnlessOpen();
    checkMix(chunk);
    checkLevel(chunk);
    const whole = Math.floor((this.filled + chunk.length) / this.waiting.length) * this.waiting.length;
    const out = zeros(this.engine.manifest.sources, Math.max(0, whole - this.toDrop));
    this.owed += chunk.length;
    return this.guarded("open", async () => {
      let given = 0;
      for (let at = 0; at < chunk.length; ) {
        const taken = Math.min(chunk.length - at, this.waiting.length - this.filled);
        this.waiting.set(chunk.subarray(at, at + taken), this.filled);
        this.filled += taken;
        at += taken;
        if (this.filled === this.waiting.length) given += await this.step(out, given);
      }
      return out;
    });
  }

  /**
   * End the stream, and return the rest of the output (sources, m): all of it is then as long as the whole input.
   *
   * @throws AudioError where the stream has already ended.
   */
  async flush(): Promise<Float32Array[]> {
    this.refuseUnlessOpen();
    const out = zeros(this.engine.manifest.sources, this.owed);
    return this.guarded("ended", async () => {
      let given = 0;
      while (this.owed > 0) {
        this.waiting.fill(0, this.filled);
        given += await this.step(out, given);
      }
      return out;
    });
  }

  private checked(depth: number): number {
    const most = this.opened.maxDepth;
    if (Number.isInteger(depth) && 0 <= depth && depth <= most) return depth;
    throw new OptionError(`the depth must be from 0 to ${most}, which the stream was opened with, not ${depth}`);
  }

  private refuseUnlessOpen(): void {
    if (this.state === "open") return;
    const why = {
      busy: "is busy: await each call before the next one",
      ended: "has ended with flush(); reset() begins a new one",
      failed: "has failed; reset() begins a new one",
    };
    throw new AudioError(`the stream ${why[this.state]}`);
  }

  private async guarded<T>(after: "open" | "ended", run: () => Promise<T>): Promise<T> {
    this.state = "busy";
    try {
      const result = await run();
      this.state = after;
      return result;
    } catch (error) {
      this.state = "failed";
      throw error;
    }
  }

  /** Run a step on what waits, and write what of it is wanted to `out` from a place on; returns how much that is. */
  private async step(out: readonly Float32Array[], at: number): Promise<number> {
    const mix = this.waiting.slice();
    const result = await this.separated(mix);
    const voices = this.trailing?.add(mix, result.estimate, this.need!.changes) ?? null;
    this.voices = voices ?? this.voices;
    const { depth, elapsedMs, missed } = result;
    this.steps.push({ startS: this.count * this.stepS, windowS: this.stepS, depth, elapsedMs, missed, voices });
    if (this.steps.length > this.stepsKept) this.steps.shift();
    this.depthCounts.set(depth, (this.depthCounts.get(depth) ?? 0) + 1);
    this.misses += Number(missed);
    this.count += 1;
    this.filled = 0;
    const dropped = Math.min(this.toDrop, mix.length);
    const wanted = Math.min(mix.length - dropped, this.owed);
    this.toDrop -= dropped;
    this.owed -= wanted;
    out.forEach((voice, source) => voice.set(result.estimate[source]!.subarray(dropped, dropped + wanted), at));
    return wanted;
  }

  /**
   * Run a step, and put its voices into the order of the talkers. The time that a block's end takes is set aside before:
   * a pause that comes as surely as this one does not have to be feared in every step.
   */
  private async separated(mix: Float32Array): Promise<StepResult> {
    const { plan, talkers } = this;
    const endsBlock = talkers?.endsBlock(mix.length) ?? false;
    const budgetMs = plan.budgetMs && plan.budgetMs - (endsBlock ? this.blocksMs.high : 0);
    const result = await runStep(this.stepsOfNetwork, mix, { ...plan, budgetMs }, this.timings, this.need);
    if (talkers === null) return result;
    const beforeMs = nowMs();
    const estimate = await talkers.inOrder(result.estimate);
    const tookMs = nowMs() - beforeMs;
    if (endsBlock) this.blocksMs.add(tookMs);
    const elapsedMs = result.elapsedMs + tookMs;
    return { ...result, estimate, elapsedMs, missed: plan.budgetMs !== null && elapsedMs > plan.budgetMs };
  }
}
