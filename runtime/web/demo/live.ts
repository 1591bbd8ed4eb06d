/** Live sound: from the microphone through worklet and worker to the headphones. */

import { Computer } from "./computer.js";
import { find } from "./find.js";
import type { LiveReport } from "./messages.js";
import { openMicrophone } from "./sound.js";

const BUNDLE = "bundles/live-16k/";
const RATE = 16000; // of the bundle: 128 samples of the worklet are one step
const CHUNK_MS = (1e3 * 128) / RATE;

interface Live {
  readonly context: AudioContext;
  readonly microphone: MediaStream;
  readonly exchange: AudioWorkletNode;
}

/**
 * Let the buttons of the section work.
 *
 * @param whenBegun is called before sound comes, to end everything else.
 */
export function listenToLive(whenBegun: () => void): void {
  const button = find<HTMLButtonElement>("live");
  const heard = find<HTMLSelectElement>("heard");
  const status = find("live-status");
  let live: Live | null = null;
  let computer: Computer | null = null; // a worker of its own, as live sound does not wait for files

  const show = (isLive: boolean): void => {
    button.textContent = isLive ? "Stop" : "Go live";
    button.ariaPressed = String(isLive);
    find<HTMLSelectElement>("live-budget").disabled = isLive;
    if (isLive) find("live-report").hidden = false;
  };
  heard.addEventListener("change", () => live?.exchange.port.postMessage({ heard: Number(heard.value) }));
  button.addEventListener("click", async () => {
    if (live !== null) {
      await end(live);
      live = null;
      status.textContent = "";
      return show(false);
    }
    button.disabled = true;
    status.textContent = "Opening the microphone…";
    try {
      const microphone = await openMicrophone();
      whenBegun();
      status.textContent = "Loading the network, and measuring your machine…";
      computer ??= new Computer();
      live = await begin(computer, microphone, Number(heard.value));
      status.textContent = "Live. Nothing leaves your machine.";
    } catch (error) {
      status.textContent = (error as Error).message;
    }
    button.disabled = false;
    show(live !== null);
  });
}

async function begin(computer: Computer, microphone: MediaStream, heard: number): Promise<Live> {
  const context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
  try {
    const budgetMs = Number(find<HTMLSelectElement>("live-budget").value);
    await context.audioWorklet.addModule("live-processor.js");
    const exchange = new AudioWorkletNode(context, "exchange", { channelCount: 1, channelCountMode: "explicit" });
    const { port1, port2 } = new MessageChannel();
    const bundle = new URL(BUNDLE, location.href).href;
    let queued = { late: 0, waiting: 0 };
    exchange.port.onmessage = ({ data }: MessageEvent<typeof queued>) => (queued = data);
    await computer.live(bundle, budgetMs, port2, (report) => tell(report, queued, context, budgetMs));
    exchange.port.postMessage({ worker: port1, heard }, [port1]);
    context.createMediaStreamSource(microphone).connect(exchange).connect(context.destination);
    await context.resume();
    return { context, microphone, exchange };
  } catch (error) {
    for (const track of microphone.getTracks()) track.stop();
    await context.close();
    throw error;
  }
}

async function end({ context, microphone, exchange }: Live): Promise<void> {
  for (const track of microphone.getTracks()) track.stop();
  exchange.disconnect();
  await context.close();
}

/** Show how the stream is doing. */
function tell(
  report: LiveReport,
  queued: { late: number; waiting: number },
  context: AudioContext,
  budgetMs: number,
): void {
  const names = ["mixture", ...report.levels.slice(1).map((_, voice) => `voice ${voice + 1}`)];
  const meters = report.levels.map((level, i) => {
    const decibels = Math.max(-60, 20 * Math.log10(level + 1e-9));
    return Object.assign(document.createElement("meter"), { min: -60, max: 0, value: decibels, title: names[i]! });
  });
  find("levels").replaceChildren(...meters.flatMap((meter) => [`${meter.title} `, meter]));
  find("live-depth").textContent = `${report.depth} now, ${report.meanDepth.toFixed(1)} on the mean`;
  const late = `${report.misses} of ${report.steps} steps over ${budgetMs} ms`;
  find("live-late").textContent = `${late}; ${queued.late} chunks too late for the headphones, ${report.dropped} dropped`;
  const devicesMs = 1e3 * (context.baseLatency + (context.outputLatency || 0));
  const waitingMs = CHUNK_MS * queued.waiting;
  const totalMs = report.algorithmicMs + waitingMs + devicesMs;
  find("live-latency").textContent =
    `${Math.round(totalMs)} ms: network ${report.algorithmicMs}, computing and waiting ${Math.round(waitingMs)}, ` +
    `output ${Math.round(devicesMs)}; the microphone's own comes on top`;
}
