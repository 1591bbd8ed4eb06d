/**
 * The public interface: one object that separates whole signals, and opens streams.
 *
 *     mixture ──> windows, each within the plan ──> who is who ──> voices
 *
 * A streaming bundle separates whole signals as it does live sound: by a `Stream`, in its own steps. Who is who is
 * decided when all has been separated.
 */

import { checkMix } from "./audio.js";
import type { Bundle } from "./bundle.js";
import { runStep } from "./controller.js";
import type { OpenOptions } from "./engine.js";
import { AudioError, OptionError } from "./errors.js";
import { estimatorOf, type Estimated } from "./estimate.js";
import { Timings } from "./forecast.js";
import type { Manifest } from "./manifest.js";
import { Need } from "./need.js";
import { isSilent, zeros } from "./numbers.js";
import type { Order } from "./order.js";
import { meanOf, type Plan, type Step } from "./plan.js";
import type { PlanOptions } from "./planner.js";
import { Providers, type Way } from "./providers.js";
import { ofOne, ordered } from "./records.js";
import { settle } from "./settling.js";
import { Stream } from "./stream.js";
import { Voiceprints } from "./voiceprints.js";
import { separateWindows } from "./windows.js";


const PIECE_S = 1; // of a signal that a streaming bundle separates, between two calls of `onProgress`

/** How to separate a whole signal. */
export interface SeparateOptions extends PlanOptions {
  /** Called while the result grows, with the seconds that are done and those of the whole signal. */
  readonly onProgress?: (doneS: number, totalS: number) => void;
  /** Ends the work before it is done: `separate` throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** The result of `Separator.separate`. */
export interface Separation {
  /** (sources, n), one for each voice, at the bundle's rate. */
  readonly sources: Float32Array[];
  /** One record for each window or step. */
  readonly steps: Step[];
  /** What each step was planned to do. */
  readonly plan: Plan;
  /** Whether nobody else talks; all but the first source are silent then. */
  readonly oneTalker: boolean;
  /** How good the voices are expected to be: the mean over windows and voices that talk; null where unknown. */
  readonly estimate: Estimated | null;
}

/** Separates mixtures with a bundle. */
export class Separator {
  private readonly voiceprints: Voiceprints | null;

  private constructor(private readonly providers: Providers) {
    const { engine } = providers.way;
    this.voiceprints = engine.voice && new Voiceprints(engine);
  }

  /** Open the graphs of a bundle; throws BundleError where they are damaged, OptionError, or ProviderError. */
  static async open(bundle: Bundle, options: OpenOptions = {}): Promise<Separator> {
    return new Separator(await Providers.open(bundle, options));
  }

  /** Everything that the bundle says of itself. */
  get manifest(): Manifest {
    return this.providers.way.engine.manifest;
  }

  /** What runs the graphs now, by ONNX Runtime's name. */
  get provider(): string {
    return this.providers.way.engine.provider;
  }

  /** Why WebGPU does not run where `auto` might use it; null where that has not been tried, or it runs. */
  get fallbackReason(): string | null {
    return this.providers.fallbackReason;
  }

  /**
   * With the provider `auto` in browsers, compare WebAssembly with WebGPU now, and return what runs from here on. Without
   * this call it is fetched after the first `separate`, and compared at the beginning of a later one, for some seconds.
   */
  async chooseProvider(): Promise<string> {
    await this.providers.choose();
    return this.provider;
  }

  /** The precision that runs. */
  get precision(): string {
    return this.providers.way.engine.precision;
  }

  /**
   * Separate a whole signal.
   *
   * @param mix (n,) of one channel at the bundle's rate, n at least 1, full scale 1.
   * @throws AudioError where the mixture is empty, or has NaN or infinity.
   * @throws OptionError where an option has an impossible value.
   * @throws ProviderError where WebGPU was asked for and fails; with `auto`, all is done again in WebAssembly.
   */
  async separate(mix: Float32Array, options: SeparateOptions = {}): Promise<Separation> {
    checkMix(mix);
    if (mix.length === 0) throw new AudioError("the mixture is empty");
    const found = await this.providers.run((way) => this.separateBy(way, mix, options));
    void this.providers.prepare();
    return found;
  }

  private async separateBy(way: Way, mix: Float32Array, options: SeparateOptions): Promise<Separation> {
    const plan = await way.planner.plan(options);
    const steps: Step[] = [];
    const separate = this.manifest.kind === "streaming" ? this.inSteps : this.inWindows;
    const sources = await separate.call(this, way, mix, plan, steps, (done) => this.tell(options, done, mix.length));
    const found = { sources, plan, steps, oneTalker: false };
    const { sampleRate } = this.manifest;
    if (this.voiceprints !== null) {
      const { block } = this.voiceprints;
      const orders = await settle(sources, this.voiceprints, sampleRate);
      found.oneTalker = orders === null;
      found.steps = steps.map((step) => (orders === null ? ofOne(step) : ordered(step, orders, block / sampleRate)));
    }
    await this.tell(options, mix.length, mix.length);
    return { ...found, estimate: meanOf(found.steps) };
  }

  /**
   * Open a stream of live sound at the bundle's rate; any number may run side by side. With a budget, this measures the
   * machine for a moment.
   *
   * @throws OptionError where an option has an impossible value, or the bundle is for whole signals.
   */
  async stream(options: PlanOptions = {}): Promise<Stream> {
    const { name, kind } = this.manifest;
    if (kind !== "streaming") {
      throw new OptionError(`bundle ${name} is for whole signals: use separate, or a streaming bundle`);
    }
    const { way } = this.providers;
    const plan = await way.planner.plan(options);
    return new Stream(way.engine, plan, await timingsOf(way, plan), this.voiceprints);
  }

  /**
   * Choose window and depth; plans are kept for later calls. With a budget, this measures the machine for up to a few
   * seconds. If not even the least work fits, the plan's `predictedMs` is the budget that would be enough.
   *
   * @throws OptionError where an option has an impossible value.
   */
  async plan(options: PlanOptions = {}): Promise<Plan> {
    // Without a budget nothing is computed.
    if (options.budgetMs === undefined) return this.providers.way.planner.plan(options);
    return this.providers.run(({ planner }) => planner.plan(options));
  }

  /**
   * Return the milliseconds that a window or step is expected to take here at a depth. The first time, this measures the
   * machine for a moment.
   *
   * @param windowS length of the window in seconds, by default the longest.
   */
  async predictedMs(depth: number, windowS?: number): Promise<number> {
    const { windowSamples } = await this.plan({ depth, windowS });
    return this.providers.run(async ({ planner }) => (await planner.measure(windowSamples)).stepMs(depth));
  }

  /** Free the memory that ONNX Runtime holds; the separator and its streams cannot be used afterwards. */
  async close(): Promise<void> {
    await this.providers.release();
  }

  /** Report progress, and let whatever else waits in this thread have its turn. */
  private async tell({ onProgress, signal }: SeparateOptions, done: number, samples: number): Promise<void> {
    const { sampleRate } = this.manifest;
    onProgress?.(done / sampleRate, samples / sampleRate);
    await nextTask();
    signal?.throwIfAborted();
  }

  private async inWindows(
    way: Way,
    mix: Float32Array,
    plan: Plan,
    steps: Step[],
    tell: (done: number) => Promise<void>,
  ): Promise<Float32Array[]> {
    const { sampleRate, sources } = this.manifest;
    const engine = way.engine.steps(plan.maxDepth);
    const estimator = estimatorOf(this.manifest);
    const need = estimator && new Need(estimator, plan.windowS, plan.minGainDb);
    const timings = await timingsOf(way, plan);
    const separate = async (start: number, samples: number): Promise<Float32Array[]> => {
      await tell(start);
      const window = mix.subarray(start, start + samples);
      const times = { startS: start / sampleRate, windowS: samples / sampleRate };
      if (isSilent(window)) {
        steps.push({ ...times, depth: 0, elapsedMs: 0, missed: false, voices: null });
        return zeros(sources, samples);
      }
      // A shorter window predicts nothing for the next full one.
      const known = samples === plan.windowSamples ? timings : timings.clone();
      const { estimate, depth, elapsedMs, missed } = await runStep(engine, window, plan, known, need);
      const voices = estimator && estimator.voices(window, estimate, need!.changes);
      steps.push({ ...times, depth, elapsedMs, missed, voices });
      return estimate;
    };
    const reorder = (order: Order): void => {
      const last = steps.pop()!;
      steps.push({ ...last, voices: last.voices && order.map((source) => last.voices![source]!) });
    };
    const voices = await separateWindows(mix.length, plan.windowSamples, separate, reorder).finally(() => engine.reset());
    if (plan.budgetMs !== null) way.planner.keep(plan.windowSamples, timings);
    return voices;
  }

  private async inSteps(
    way: Way,
    mix: Float32Array,
    plan: Plan,
    steps: Step[],
    tell: (done: number) => Promise<void>,
  ): Promise<Float32Array[]> {
    const stream = new Stream(way.engine, plan, await timingsOf(way, plan), null, Infinity);
    const voices = zeros(this.manifest.sources, mix.length);
    const piece = PIECE_S * this.manifest.sampleRate;
    let written = 0;
    const write = (part: readonly Float32Array[]): void => {
      voices.forEach((voice, source) => voice.set(part[source]!, written));
      written += part[0]!.length;
    };
    for (let start = 0; start < mix.length; start += piece) {
      await tell(start);
      write(await stream.process(mix.subarray(start, start + piece)));
    }
    write(await stream.flush());
    for (const step of stream.steps) steps.push(step); // too many to be arguments of a call
    return voices;
  }
}

/** Return what a step of the plan takes; nothing is measured without a budget. */
async function timingsOf({ planner }: Way, plan: Plan): Promise<Timings> {
  return plan.budgetMs === null ? new Timings() : (await planner.measure(plan.windowSamples)).clone();
}

/** Wait for the next turn of the event loop; timers would wait for a second in a tab in the background. */
async function nextTask(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  await new Promise((resolve) => {
    port1.onmessage = resolve;
    port2.postMessage(null);
  });
  port1.close();
}
