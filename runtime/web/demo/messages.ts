/** What page and worker say to each other. */

import type { PlanOptions } from "../src/browser.js";

/** A call; its replies have the same number. */
export type Request = { readonly id: number } & (
  | { readonly call: "open"; readonly bundle: string }
  | { readonly call: "separate"; readonly mix: Float32Array; readonly options: PlanOptions }
  | { readonly call: "plan"; readonly options: PlanOptions }
  | { readonly call: "predict"; readonly depth: number }
  | { readonly call: "live"; readonly bundle: string; readonly budgetMs: number; readonly port: MessagePort }
  | { readonly call: "stop" }
);

/** How a stream is doing, several times a second. */
export interface LiveReport {
  /** Of the last step. */
  readonly depth: number;
  readonly meanDepth: number;
  readonly steps: number;
  /** Steps over budget. */
  readonly misses: number;
  /** Chunks that came too fast to be separated. */
  readonly dropped: number;
  readonly algorithmicMs: number;
  /** Of mixture and voices, full scale 1. */
  readonly levels: readonly number[];
}

/** The share that is done, and at last a result or an error. */
export type Reply = { readonly id: number } & (
  | { readonly progress: number }
  | { readonly report: LiveReport }
  | { readonly result: unknown }
  | { readonly error: { readonly name: string; readonly message: string } }
);
