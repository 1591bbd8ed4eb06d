/** The worker, as the page calls it. */

import type { Manifest, Plan, PlanOptions, Separation } from "../src/browser.js";
import type { LiveReport, Reply, Request, Running } from "./messages.js";

/** A call without its number, which `Computer` gives. */
type Call<T = Request> = T extends Request ? Omit<T, "id"> : never;

/** Called while sound is live: several times a second, and where it ends by a failure. */
export interface Listener {
  readonly onReport: (report: LiveReport) => void;
  readonly onFailure: (message: string) => void;
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress: (share: number) => void;
}

/** Separates in a worker; opened by `open`, once. */
export class Computer {
  private readonly worker = new Worker("worker.js", { type: "module" });
  private readonly waiting = new Map<number, Waiting>();
  private live: Listener | null = null;
  private count = 0;

  constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.take(data);
    this.worker.onerror = (event) => {
      const error = new Error(event.message || "the worker does not start: reload the page");
      for (const call of this.waiting.values()) call.reject(error);
      this.live?.onFailure(error.message);
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

  /** Choose what runs the graphs from here on; the first time this compares WebAssembly with WebGPU, where there is any. */
  choose(): Promise<Running> {
    return this.ask({ call: "choose" });
  }

  /** Return the milliseconds that the longest window takes at a depth. */
  predictedMs(depth: number): Promise<number> {
    return this.ask({ call: "predict", depth });
  }

  /** Separate what a port sends, chunk by chunk, until it is closed. */
  async goLive(bundle: string, budgetMs: number, port: MessagePort, listener: Listener): Promise<void> {
    this.live = listener;
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
    if ("report" in reply) return this.live?.onReport(reply.report);
    if ("failure" in reply) return this.live?.onFailure(reply.failure);
    const call = this.waiting.get(reply.id);
    if (call === undefined) return;
    if ("progress" in reply) return call.onProgress(reply.progress);
    this.waiting.delete(reply.id);
    if ("result" in reply) return call.resolve(reply.result);
    call.reject(Object.assign(new Error(reply.error.message), { name: reply.error.name }));
  }
}
