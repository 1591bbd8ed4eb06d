/** What page and worker say to each other. */

import type { PlanOptions } from "../src/browser.js";

/** A call; its replies have the same number. */
export type Request = { readonly id: number } & (
  | { readonly call: "open"; readonly bundle: string }
  | { readonly call: "separate"; readonly mix: Float32Array; readonly options: PlanOptions }
  | { readonly call: "plan"; readonly options: PlanOptions }
  | { readonly call: "predict"; readonly depth: number }
  | { readonly call: "stop" }
);

/** The share that is done, and at last a result or an error. */
export type Reply = { readonly id: number } & (
  | { readonly progress: number }
  | { readonly result: unknown }
  | { readonly error: { readonly name: string; readonly message: string } }
);
