/** Live sound: from the microphone through worklet and worker to the headphones. */

import { Computer } from "./computer.js";
import { find } from "./find.js";
import type { LiveReport } from "./messages.js";
import { openMicrophone, stopMicrophone } from "./sound.js";

const BUNDLE = "bundles/live-16k/";
const RATE = 16000; // of the bundle: 128 samples of the worklet are one step
const CHUNK_MS = (1e3 * 128) / RATE;

/** Chunks that were late for the headphones, those that were never separated, and those that are on their way. */
interface Queue {
  readonly late: number;
  readonly dropped: number;
  readonly waiting: number;
}

const button = find<HTMLButtonElement>("live");
const heard = find<HTMLSelectElement>("heard");
const budget = find<HTMLSelectElement>("live-budget");
const status = find("live-status");

/**
 * Let the buttons of the section work.
 *
 * @param whenBegun is called before sound comes, to end everything else.
 */
export function listenToLive(whenBegun: () => void): void {
  let live: Live | null = null;
  let computer: Computer | null = null; // a worker of its own, as live sound does not wait for files

  const show = (isLive: boolean): void => {
    button.textContent = isLive ? "Stop" : "Go live";
    button.ariaPressed = String(isLive);
    budget.disabled = isLive;
  };
  const end = async (why: string): Promise<void> => {
    const ended = live;
    live = null;
    await ended?.close();
    status.textContent = why;
    show(false);
  };
  heard.addEventListener("change", () => live?.hear(Number(heard.value)));
  button.addEventListener("click", async () => {
    if (live !== null) return end("");
    button.disabled = true;
    status.textContent = "Opening the microphone…";
    try {
      const microphone = await openMicrophone();
      whenBegun();
      status.textContent = "Loading the network, and measuring your machine…";
      live = new Live(microphone, (why) => void end(`Live has ended: ${why}`));
      await live.begin((computer ??= new Computer()), Number(budget.value));
      live.hear(Number(heard.value));
      status.textContent = "Live. Nothing leaves your machine.";
      find("live-report").hidden = false;
      show(true);
    } catch (error) {
      await end((error as Error).message);
    }
    button.disabled = false;
  });
}

/** A microphone that is open, and what its sound goes through. Whatever happens, `close` stops it. */
class Live {
  private context: AudioContext | null = null;
  private exchange: AudioWorkletNode | null = null;
  private queue: Queue = { late: 0, dropped: 0, waiting: 0 };
  private readonly ended = new AbortController();

  /** @param onEnd is called, at most once, where live sound cannot go on. */
  constructor(
    private readonly microphone: MediaStream,
    private readonly onEnd: (why: string) => void,
  ) {}

  async begin(computer: Computer, budgetMs: number): Promise<void> {
    const context = (this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" }));
    await context.audioWorklet.addModule("live-processor.js");
    const options = { channelCount: 1, channelCountMode: "explicit" } as const;
    const exchange = (this.exchange = new AudioWorkletNode(context, "exchange", options));
    const { port1, port2 } = new MessageChannel();
    exchange.port.onmessage = ({ data }: MessageEvent<Queue>) => (this.queue = data);
    const fail = (why: string): void => {
      if (!this.ended.signal.aborted) this.onEnd(why);
    };
    await computer.goLive(new URL(BUNDLE, location.href).href, budgetMs, port2, {
      onReport: (report) => this.ended.signal.aborted || tell(report, this.queue, context, budgetMs),
      onFailure: fail,
    });
    exchange.port.postMessage({ worker: port1 }, [port1]);
    exchange.onprocessorerror = () => fail("the browser cannot move the sound");
    for (const track of this.microphone.getTracks()) track.onended = () => fail("the microphone is gone");
    context.createMediaStreamSource(this.microphone).connect(exchange).connect(context.destination);
    await context.resume();
    this.watch(context);
  }

  /** Choose the voice that is heard. */
  hear(voice: number): void {
    this.exchange?.port.postMessage({ heard: voice });
  }

  async close(): Promise<void> {
    this.ended.abort();
    stopMicrophone(this.microphone);
    this.exchange?.disconnect();
    await this.context?.close();
  }

  /** Say where the browser stops sound, as some do in the background, and begin again when the page is seen. */
  private watch(context: AudioContext): void {
    const { signal } = this.ended;
    let stoppedMs = 0;
    const look = (): void => {
      if (signal.aborted) return;
      if (context.state !== "running") {
        stoppedMs ||= performance.now();
        status.textContent = "Your browser has stopped the sound. It goes on when this page is in front.";
        if (document.visibilityState === "visible") void context.resume();
      } else if (stoppedMs > 0) {
        const missingS = (performance.now() - stoppedMs) / 1e3;
        status.textContent = `Live again; your browser had stopped the sound for ${missingS.toFixed(1)} s.`;
        stoppedMs = 0;
      }
    };
    context.addEventListener("statechange", look, { signal });
    document.addEventListener("visibilitychange", look, { signal });
  }
}

/** Show how the stream is doing. */
function tell(report: LiveReport, queue: Queue, context: AudioContext, budgetMs: number): void {
  const names = ["mixture", ...report.levels.slice(1).map((_, voice) => `voice ${voice + 1}`)];
  const meters = report.levels.map((level, i) => {
    const decibels = Math.max(-60, 20 * Math.log10(level + 1e-9));
    return Object.assign(document.createElement("meter"), { min: -60, max: 0, value: decibels, title: names[i]! });
  });
  find("levels").replaceChildren(...meters.flatMap((meter) => [`${meter.title} `, meter]));
  find("live-depth").textContent = `${report.depth} now, ${report.meanDepth.toFixed(2)} on the mean`;
  const late = `${report.misses} of ${report.steps} steps over ${budgetMs} ms`;
  find("live-late").textContent = `${late}; ${queue.late} chunks too late for the headphones, ${queue.dropped} dropped`;
  const devicesMs = 1e3 * (context.baseLatency + (context.outputLatency || 0));
  const waitingMs = CHUNK_MS * queue.waiting;
  const totalMs = report.algorithmicMs + waitingMs + devicesMs;
  find("live-latency").textContent =
    `${Math.round(totalMs)} ms: network ${report.algorithmicMs}, computing and waiting ${Math.round(waitingMs)}, ` +
    `output ${Math.round(devicesMs)}; the microphone's own comes on top`;
}
