/** A stream in the worker: chunks come from the worklet, and voices go back to it. */

import { Separator, loadBundle, type Stream } from "../src/browser.js";
import type { LiveReport, Recorded } from "./messages.js";

const REPORT_MS = 250;
const SHORT_MS = 16; // until a chunk is due

let opened: { readonly bundle: string; readonly separator: Separator } | null = null;

/**
 * Answer each chunk that a port sends with its voices, until it is closed.
 *
 * @param tell is called several times a second.
 * @param fail is called where the stream failed, which ends it.
 */
export async function beginLive(
  bundle: string,
  budgetMs: number,
  port: MessagePort,
  tell: (report: LiveReport) => void,
  fail: (error: Error) => void,
): Promise<void> {
  if (opened?.bundle !== bundle) opened = { bundle, separator: await Separator.open(await loadBundle(bundle)) };
  const { separator } = opened;
  const stream = await separator.stream({ budgetMs });
  const levels = Array.from({ length: separator.manifest.sources + 1 }, () => 0); // mixture and voices
  let hasFailed = false;
  let toldMs = 0;

  const report = (): void => {
    if (performance.now() - toldMs < REPORT_MS) return;
    toldMs = performance.now();
    tell({ ...reportOf(stream), levels: levels.map(Math.sqrt) });
    levels.fill(0);
  };
  const separate = async ({ chunk, dueMs }: Recorded): Promise<void> => {
    if (hasFailed) return;
    try {
      // One repetition runs though it may be late by the budget, as long as the headphones have enough until then.
      stream.setMinDepth(dueMs - Date.now() < SHORT_MS ? 0 : 1);
      const voices = await stream.process(chunk);
      [chunk, ...voices].forEach((signal, i) => (levels[i] = Math.max(levels[i]!, meanSquare(signal))));
      port.postMessage(voices);
      report();
    } catch (error) {
      hasFailed = true;
      port.close();
      fail(error as Error);
    }
  };
  let last = Promise.resolve();
  port.onmessage = ({ data }: MessageEvent<Recorded>) => (last = last.then(() => separate(data)));
}

function reportOf(stream: Stream): Omit<LiveReport, "levels"> {
  const { depth, misses, latencyMs, depthCounts } = stream;
  const counts = [...depthCounts];
  const steps = counts.reduce((total, [, count]) => total + count, 0);
  const meanDepth = counts.reduce((total, [each, count]) => total + each * count, 0) / Math.max(1, steps);
  return { depth, meanDepth, steps, misses, algorithmicMs: latencyMs.algorithmic };
}

function meanSquare(signal: Float32Array): number {
  return signal.reduce((total, x) => total + x * x, 0) / Math.max(1, signal.length);
}
