/** A stream in the worker: chunks come from the worklet, and voices go back to it. */

import { Separator, loadBundle, type Stream } from "../src/browser.js";
import type { LiveReport } from "./messages.js";

const REPORT_MS = 250;
const MOST_WAITING = 25; // chunks, of 8 ms; of more, the oldest are dropped: late sound helps nobody

let opened: { readonly bundle: string; readonly separator: Separator } | null = null;

/** Separate what a port sends until it is closed; `tell` is called several times a second. */
export async function beginLive(
  bundle: string,
  budgetMs: number,
  port: MessagePort,
  tell: (report: LiveReport) => void,
): Promise<void> {
  if (opened?.bundle !== bundle) opened = { bundle, separator: await Separator.open(await loadBundle(bundle)) };
  const { separator } = opened;
  const stream = await separator.stream({ budgetMs, minDepth: 0 }); // on a slow machine the split alone, but no gaps
  const waiting: Float32Array[] = [];
  const levels = Array.from({ length: separator.manifest.sources + 1 }, () => 0); // mixture and voices
  let dropped = 0;
  let isBusy = false;
  let toldMs = 0;

  const report = (): void => {
    if (performance.now() - toldMs < REPORT_MS) return;
    toldMs = performance.now();
    tell({ ...reportOf(stream, dropped), levels: levels.map(Math.sqrt) });
    levels.fill(0);
  };
  const run = async (): Promise<void> => {
    isBusy = true;
    for (let chunk = waiting.shift(); chunk !== undefined; chunk = waiting.shift()) {
      const voices = await stream.process(chunk);
      [chunk, ...voices].forEach((signal, i) => (levels[i] = Math.max(levels[i]!, meanSquare(signal))));
      if (voices[0]!.length > 0) port.postMessage(voices);
      report();
    }
    isBusy = false;
  };
  port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
    waiting.push(data);
    for (; waiting.length > MOST_WAITING; ++dropped) waiting.shift();
    if (!isBusy) void run();
  };
}

function reportOf(stream: Stream, dropped: number): Omit<LiveReport, "levels"> {
  const { depth, misses, latencyMs, depthCounts } = stream;
  const counts = [...depthCounts];
  const steps = counts.reduce((total, [, count]) => total + count, 0);
  const meanDepth = counts.reduce((total, [each, count]) => total + each * count, 0) / Math.max(1, steps);
  return { depth, meanDepth, steps, misses, dropped, algorithmicMs: latencyMs.algorithmic };
}

function meanSquare(signal: Float32Array): number {
  return signal.reduce((total, x) => total + x * x, 0) / Math.max(1, signal.length);
}
