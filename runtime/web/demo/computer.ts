/** The worker, as the page calls it. */

import type { Manifest, Plan, PlanOptions, Separation } from "../src/browser.js";
import type { LiveReport, Reply, Request } from "./messages.js";

/** A call without its number, which `Computer` gives. */
type Call<T = Request> = T extends Request ? Omit<T, "id"> : never;

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress: (share: number) => void;
}

/** Separates in a worker; opened by `open`, once. */
export class Computer {
  private readonly worker = new Worker("worker.js", { type: "module" });
  private readonly waiting = new Map<number, Waiting>();
  private onReport: (report: LiveReport) => void = () => {};
  private count = 0;

  constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.take(data);
    this.worker.onerror = (event) => {
      const error = new Error(event.message || "the worker does not start: reload the page");
      for (const call of this.waiting.values()) call.reject(error);
    };
  }

  /** Open the bundle at an address. */
  open(bundle: string): Promise<{ manifest: Manifest; provider: string }> {
    return this.ask({ call: "open", bundle });
  }

  /** Separate a mixture (n,) at the bundle's rate. */
  separate(
    mix: Float32Array,
    options: PlanOptions,
    signal: AbortSignal,
    onProgress: (share: number) => void,
  ): Promise<Separation> {
    return this.ask({ call: "separate", mix, options }, onProgress, signal);
  }

  /** Choose window and depth; with a budget, this measures the machine the first time. */
  plan(options: PlanOptions): Promise<Plan> {
    return this.ask({ call: "plan", options });
  }

  /** Return the milliseconds that the longest window takes at a depth. */
  predictedMs(depth: number): Promise<number> {
    return this.ask({ call: "predict", depth });
  }

  /** Separate what a port sends, chunk by chunk; reports come until it is closed. */
  async live(bundle: string, budgetMs: number, port: MessagePort, onReport: (report: LiveReport) => void): Promise<void> {
    this.onReport = onReport;
    await this.ask({ call: "live", bundle, budgetMs, port }, () => {}, undefined, [port]);
  }

  private ask<T>(
    call: Call,
    onProgress: (share: number) => void = () => {},
    signal?: AbortSignal,
    transfer: Transferable[] = [],
  ): Promise<T> {
    const id = ++this.count;
    signal?.addEventListener("abort", () => this.worker.postMessage({ id, call: "stop" }));
    return new Promise<T>((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (result: unknown) => void, reject, onProgress });
      this.worker.postMessage({ ...call, id }, transfer);
    });
  }

  private take(reply: Reply): void {
    if ("report" in reply) return this.onReport(reply.report);
    const call = this.waiting.get(reply.id);
    if (call === undefined) return;
    if ("progress" in reply) return call.onProgress(reply.progress);
    this.waiting.delete(reply.id);
    if ("result" in reply) return call.resolve(reply.result);
    call.reject(Object.assign(new Error(reply.error.message), { name: reply.error.name }));
  }
}
