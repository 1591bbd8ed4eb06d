/**
 * What runs the graphs, where there is a choice: WebAssembly at once, and instead of it WebGPU as soon as that was found
 * to be faster here and as good. As in `tisdiss_rt/planning/autoselect.py`; nothing is kept from one visit to the next.
 */

import type { Bundle } from "./bundle.js";
import { runStep } from "./controller.js";
import { Engine, type OpenOptions } from "./engine.js";
import { BundleError, OptionError, ProviderError, firstLine } from "./errors.js";
import { Timings } from "./forecast.js";
import { lengthSamples, lengthsS } from "./manifest.js";
import { fixedPlan } from "./plan.js";
import { Planner, noise } from "./planner.js";

export const MIN_SPEEDUP = 1.1; // at least so many times as fast, or WebAssembly stays
export const COARSE_TOLERANCE = 2e-3; // of the peak, by which an accelerator may differ

/** An engine, and the plans that follow from its times. */
export class Way {
  readonly planner: Planner;

  constructor(readonly engine: Engine) {
    this.planner = new Planner(engine.manifest, (depth) => engine.steps(depth));
  }
}

/** What may run a bundle, and what does. */
export class Providers {
  /** Why WebGPU does not run where `auto` might use it; null where that has not been tried, or it runs. */
  fallbackReason: string | null = null;
  private current: Way;
  private other: Promise<Way | null> | null = null;
  private isPrepared = false;
  private choice: Promise<void> | null = null;
  private readonly running = new Set<Promise<unknown>>();

  private constructor(
    private readonly bundle: Bundle,
    private readonly reference: Way,
    private readonly accelerate: ((isAsked: boolean) => Promise<Bundle["platform"]>) | null,
  ) {
    this.current = reference;
  }

  /** Open a bundle; throws BundleError, OptionError or ProviderError. */
  static async open(bundle: Bundle, options: OpenOptions): Promise<Providers> {
    const { platform, manifest } = bundle;
    const { provider = "auto", precision = "auto" } = options;
    const there = ["auto", ...platform.providers];
    if (!there.includes(provider)) throw new OptionError(`no provider '${provider}' here, only ${there.join(", ")}`);
    const isStream = manifest.kind === "streaming";
    if (provider !== "auto" && provider !== platform.provider) {
      if (isStream) throw new ProviderError(`bundle ${manifest.name} is for streams, which do not run on ${provider}`);
      return new Providers(bundle, new Way(await openAsked(bundle, options)), null);
    }
    const hasChoice = provider === "auto" && precision === "auto" && !isStream;
    return new Providers(bundle, new Way(await Engine.open(bundle, options)), hasChoice ? platform.accelerate ?? null : null);
  }

  /** What runs now. */
  get way(): Way {
    return this.current;
  }

  /** Get the other provider ready, in the background; what keeps it from running is not an error. */
  async prepare(): Promise<Way | null> {
    this.other ??= this.open()
      .catch((error: unknown) => {
        this.give(error);
        return null;
      })
      .finally(() => (this.isPrepared = true));
    return this.other;
  }

  /** Compare what there is, once, when nothing else is computed. */
  choose(): Promise<void> {
    return (this.choice ??= this.compare());
  }

  /** Do work on what runs best; where an accelerator fails, do it again without. */
  async run<T>(work: (way: Way) => Promise<T>): Promise<T> {
    if (this.isPrepared) await this.choose();
    const way = this.current;
    const running = work(way).catch((error: unknown) => {
      const isItsFault = error instanceof ProviderError || error instanceof BundleError;
      if (way === this.reference || !isItsFault) throw error;
      this.give(error);
      return work(this.reference);
    });
    this.running.add(running);
    try {
      return await running;
    } finally {
      this.running.delete(running);
    }
  }

  /** Free what ONNX Runtime holds. */
  async release(): Promise<void> {
    await this.reference.engine.release();
    await (await this.other)?.engine.release();
  }

  private async open(): Promise<Way | null> {
    if (this.accelerate === null) return null;
    return new Way(await Engine.open(this.bundle, {}, await this.accelerate(false)));
  }

  private async compare(): Promise<void> {
    const other = await this.prepare();
    if (other === null) return;
    while (this.running.size > 0) await Promise.allSettled(this.running);
    try {
      const reason = await whyNot(other, this.reference);
      if (reason === null) this.current = other;
      else this.give(new ProviderError(`WebGPU: ${reason}`));
    } catch (error) {
      this.give(error);
    }
  }

  /** Go on without an accelerator. */
  private give(error: unknown): void {
    this.current = this.reference;
    this.fallbackReason = `${error instanceof ProviderError ? "" : "WebGPU: "}${firstLine(error)}`;
    this.other?.then((other) => other?.engine.release()).catch(() => {}); // of what is lost, nothing is left to free
    this.other = Promise.resolve(null);
  }
}

/** Open the graphs on what was asked for; throws ProviderError, which says what else there is. */
async function openAsked(bundle: Bundle, options: OpenOptions): Promise<Engine> {
  try {
    return await Engine.open(bundle, options, await bundle.platform.accelerate!(true));
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    throw new ProviderError(`${error.message}; use the provider auto or ${bundle.platform.provider}`, { cause: error });
  }
}

/** Return why another way is not to be taken for the longest window at the trained depth; null where it is. */
async function whyNot(other: Way, reference: Way): Promise<string | null> {
  const { manifest } = reference.engine;
  const windowS = lengthsS(manifest).at(-1)!;
  const depth = manifest.depth.trained;
  const samples = lengthSamples(manifest, windowS);
  const stepMs = async (way: Way): Promise<number> => (await way.planner.measure(samples)).stepMs(depth);
  const [ms, otherMs] = [await stepMs(reference), await stepMs(other)];
  if (MIN_SPEEDUP * otherMs >= ms) {
    return `not faster here, ${otherMs.toFixed(0)} ms for ${windowS} s instead of ${ms.toFixed(0)}`;
  }
  const estimateOf = async ({ engine }: Way): Promise<Float32Array[]> => {
    const steps = engine.steps(depth);
    const { estimate } = await runStep(steps, noise(samples), fixedPlan(manifest, windowS, depth), new Timings());
    steps.reset();
    return estimate;
  };
  const difference = differenceOf(await estimateOf(other), await estimateOf(reference));
  return difference <= COARSE_TOLERANCE ? null : `its results differ by ${difference.toPrecision(2)} of the peak`;
}

/** Return the largest difference between estimates (sources, n), as a share of the peak of the expected one. */
function differenceOf(found: readonly Float32Array[], expected: readonly Float32Array[]): number {
  let [most, peak] = [0, 0];
  expected.forEach((voice, source) =>
    voice.forEach((wanted, i) => {
      most = Math.max(most, Math.abs(found[source]![i]! - wanted));
      peak = Math.max(peak, Math.abs(wanted));
    }),
  );
  return most / peak;
}
