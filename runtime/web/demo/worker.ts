/** Computes beside the page, which stays free for whoever looks at it. */

import { Separator, loadBundle, type PlanOptions } from "../src/browser.js";
import { beginLive } from "./live-worker.js";
import type { Reply, Request } from "./messages.js";

let separator: Separator;
const stops = new Map<number, AbortController>();

function tell(reply: Reply, transfer: Transferable[] = []): void {
  postMessage(reply, { transfer });
}

async function open(id: number, bundle: string): Promise<void> {
  separator = await Separator.open(await loadBundle(bundle));
  tell({ id, result: { manifest: separator.manifest, provider: separator.provider } });
}

async function separate(id: number, mix: Float32Array, options: PlanOptions): Promise<void> {
  const stop = new AbortController();
  stops.set(id, stop);
  try {
    const onProgress = (doneS: number, totalS: number): void => tell({ id, progress: doneS / totalS });
    const result = await separator.separate(mix, { ...options, onProgress, signal: stop.signal });
    tell(
      { id, result },
      result.sources.map((voice) => voice.buffer as ArrayBuffer),
    );
  } finally {
    stops.delete(id);
  }
}

async function answer(request: Request): Promise<void> {
  const { id } = request;
  switch (request.call) {
    case "open":
      return open(id, request.bundle);
    case "separate":
      return separate(id, request.mix, request.options);
    case "plan":
      return tell({ id, result: await separator.plan(request.options) });
    case "choose":
      await separator.chooseProvider();
      return tell({ id, result: { provider: separator.provider, fallbackReason: separator.fallbackReason } });
    case "predict":
      return tell({ id, result: await separator.predictedMs(request.depth) });
    case "live":
      await beginLive(
        request.bundle,
        request.budgetMs,
        request.port,
        (report) => tell({ id, report }),
        (error) => tell({ id, failure: error.message }),
      );
      return tell({ id, result: null });
    case "stop":
      return stops.get(request.id)?.abort();
  }
}

addEventListener("message", ({ data }: MessageEvent<Request>) => {
  answer(data).catch((error: Error) => tell({ id: data.id, error: { name: error.name, message: error.message } }));
});
