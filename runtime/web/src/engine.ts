/** The opened graphs of a bundle, and the calls that the controller makes in every step. */

import type { Bundle } from "./bundle.js";
import { BundleError, OptionError } from "./errors.js";
import { CHANGE, GRAPHS, VOICE, partOf, type GraphName, type Manifest } from "./manifest.js";
import { OfflineSteps } from "./offline.js";
import { Graph, type Platform } from "./onnx-runtime.js";
import { StreamSteps } from "./stream-steps.js";

export const MOST_THREADS = 256; // each takes memory, and no graph has work for so many

/**
 * The steps of one signal, one after the other: a call for each graph. The calls of one step must not mix with those of
 * another one of the same signal.
 */
export interface StepEngine {
  /** How much the last repetition changed the map of each source (sources,); null where the bundle does not tell. */
  readonly change: Float32Array | null;

  /** Run the stem on (samples,). */
  start(mix: Float32Array): Promise<void>;

  /** Run the block once. */
  repeat(): Promise<void>;

  /** Run the decoder; returns the estimate (sources, samples). */
  decode(): Promise<Float32Array[]>;

  /** Clear the state of earlier steps: the next step is the first. */
  reset(): void;
}

/** How to open a bundle. */
export interface OpenOptions {
  /** `auto`, which is fp32, or one that the bundle carries. */
  readonly precision?: string;
  /**
   * `auto`, or what runs the graphs: `cpu` in Node, `wasm` or `webgpu` in browsers. `auto` begins with WebAssembly, and
   * goes on with WebGPU where a graphics card was found to be faster.
   */
  readonly provider?: string;
  /** Threads of the processor: by default as many as ONNX Runtime likes, or one in browsers and for streams. */
  readonly threads?: number;
}

/** The graphs of a bundle. They remember nothing, so that all streams share them. */
export class Engine {
  private constructor(
    readonly manifest: Manifest,
    /** What runs the graphs, by ONNX Runtime's name. */
    readonly provider: string,
    /** That runs; graphs that do not have it run in fp32. */
    readonly precision: string,
    readonly graphs: Readonly<Record<GraphName, Graph>>,
    /** The graph of the part `voice`, where the bundle has it. */
    readonly voice: Graph | null,
  ) {}

  /** Open the graphs of a bundle; throws BundleError, OptionError or ProviderError. */
  static async open(bundle: Bundle, options: OpenOptions = {}, platform: Platform = bundle.platform): Promise<Engine> {
    const { manifest } = bundle;
    const precision = precisionOf(bundle, options.precision ?? "auto");
    const { threads: asked } = options;
    if (asked !== undefined && !(Number.isInteger(asked) && 1 <= asked && asked <= MOST_THREADS)) {
      throw new OptionError(`threads must be from 1 to ${MOST_THREADS}, not ${asked}`);
    }
    // A step of a stream is too short to be worth sharing.
    const threads = platform.useThreads(asked ?? (manifest.kind === "streaming" ? 1 : 0));
    const graphs: Partial<Record<GraphName, Graph>> = {};
    for (const name of GRAPHS) {
      const spec = manifest.graphs[name];
      const content = await bundle.readGraph(spec, precision);
      const stay = name === "decoder" ? [] : spec.outputs.map((output) => output.name).filter((one) => one !== CHANGE);
      graphs[name] = await Graph.open(platform, content, spec, threads, `${name} graph`, stay);
    }
    const spec = partOf(manifest, VOICE)?.graph ?? null;
    const voice =
      spec && (await Graph.open(bundle.platform, await bundle.readGraph(spec, "fp32"), spec, 1, "voice graph"));
    const all = graphs as Record<GraphName, Graph>;
    return new Engine(manifest, platform.provider, precision, all, voice);
  }

  /** Begin a signal whose steps run at most `maxDepth` repetitions; many may run side by side. */
  steps(maxDepth: number): StepEngine {
    return this.manifest.kind === "streaming" ? new StreamSteps(this, maxDepth) : new OfflineSteps(this);
  }

  /** Free what ONNX Runtime holds. */
  async release(): Promise<void> {
    for (const graph of [...Object.values(this.graphs), ...(this.voice ? [this.voice] : [])]) await graph.release();
  }
}

function precisionOf(bundle: Bundle, asked: string): string {
  if (asked === "auto") return "fp32";
  const there = bundle.precisions;
  if (there.includes(asked)) return asked;
  throw new OptionError(`bundle ${bundle.manifest.name} has no precision '${asked}', only ${there.join(", ")}`);
}

/** Throw a BundleError if a network returned NaN or infinity. */
export function refuseUnusable(estimate: readonly Float32Array[], manifest: Manifest): void {
  if (estimate.every((voice) => voice.every(Number.isFinite))) return;
  throw new BundleError(`bundle ${manifest.name} returned NaN or infinity`);
}
