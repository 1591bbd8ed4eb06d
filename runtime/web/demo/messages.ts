/** What page and worker say to each other. */

import type { PlanOptions } from "../src/browser.js";

/** A call; its replies have the same number. */
export type Request = { readonly id: number } & (
  | { readonly call: "open"; readonly bundle: string }
  | { readonly call: "separate"; readonly mix: Float32Array; readonly options: PlanOptions }
  | { readonly call: "plan"; readonly options: PlanOptions }
  | { readonly call: "choose" }
  | { readonly call: "predict"; readonly depth: number }
  | { readonly call: "live"; readonly bundle: string; readonly budgetMs: number; readonly port: MessagePort }
  | { readonly call: "stop" }
);

/** What runs the graphs, and why not WebGPU, where it was tried. */
export interface Running {
  readonly provider: string;
  readonly fallbackReason: string | null;
}

/** How a stream is doing, several times a second. */
export interface LiveReport {
  /** Of the last step. */
  readonly depth: number;
  readonly meanDepth: number;
  readonly steps: number;
  /** Steps over budget. */
  readonly misses: number;
  readonly algorithmicMs: number;
  /** Of mixture and voices, full scale 1. */
  readonly levels: readonly number[];
}

/** The share that is done, and at last a result or an error; of live sound, what comes after the result. */
export type Reply = { readonly id: number } & (
  | { readonly progress: number }
  | { readonly report: LiveReport }
  | { readonly failure: string }
  | { readonly result: unknown }
  | { readonly error: { readonly name: string; readonly message: string } }
);

/** What the worklet sends to the worker: 128 samples, and when they are due, by `Date.now`. */
export interface Recorded {
  readonly chunk: Float32Array;
  readonly dueMs: number;
}
