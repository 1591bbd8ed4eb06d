/** The page: a sound, the effort to spend on it, and the voices. */

import type { Plan, PlanOptions, Separation } from "../src/browser.js";
import { Computer } from "./computer.js";
import { find } from "./find.js";
import { listenToLive } from "./live.js";
import { decode, record } from "./sound.js";
import { showTracks, type Shown } from "./tracks.js";

const BUNDLE = "bundles/edge-16k/";
const EXAMPLE = "two_voices.wav";
const PLACES: Record<string, string> = { wasm: "in WebAssembly", webgpu: "on WebGPU" };

const status = find("status");
const progress = find<HTMLProgressElement>("progress");
const depth = find<HTMLInputElement>("depth");
const budget = find<HTMLInputElement>("budget");
const computer = new Computer();

const opened = computer.open(new URL(BUNDLE, location.href).href);
let reading = false; // a sound is being decoded
let turn = 0; // of the sound that was chosen last, the example first of all; those before are not wanted any more
let sound: { name: string; mix: Float32Array } | null = null;
let stop = new AbortController();
let shown: Shown | null = null;
const predictedMs = new Map<number, number>(); // of the longest window, by depth

/** Say what is going on, or what went wrong. */
function say(text: string): void {
  status.textContent = text;
}

function chosen(): "depth" | "budget" {
  return document.querySelector<HTMLInputElement>("input[name=effort]:checked")!.value as "depth" | "budget";
}

function optionsOf(effort: "depth" | "budget"): PlanOptions {
  return effort === "depth" ? { depth: depth.valueAsNumber } : { budgetMs: budget.valueAsNumber };
}

/** Show what a depth takes and promises; the time is known when the machine has been measured. */
async function tellDepth(): Promise<void> {
  const repetitions = depth.valueAsNumber;
  const plan = await computer.plan({ depth: repetitions });
  const ms = predictedMs.get(repetitions);
  const time = ms === undefined ? "" : `, ${Math.round(ms)} ms for ${plan.windowS} s`;
  if (repetitions === depth.valueAsNumber) find("depth-told").textContent = `${repetitions}: ${promised(plan)}${time}`;
}

/** Show what a budget leads to; the first time this measures the machine for some seconds. */
async function tellBudget(): Promise<void> {
  const ms = budget.valueAsNumber;
  const told = find("budget-told");
  if (chosen() !== "budget") {
    told.textContent = `${ms} ms`;
    return;
  }
  told.textContent = `${ms} ms: measuring your machine…`;
  const plan = await computer.plan({ budgetMs: ms });
  if (ms !== budget.valueAsNumber) return;
  const isTooSmall = plan.predictedMs !== null && plan.predictedMs > ms;
  const advice = isTooSmall ? `too small, about ${Math.ceil(plan.predictedMs!)} ms are needed` : promised(plan);
  told.textContent = `${ms} ms: depth ${plan.depth}, windows of ${plan.windowS} s, ${advice}`;
}

function promised(plan: Plan): string {
  return plan.qualityDb === null ? "quality unknown" : `${plan.qualityDb.toFixed(1)} dB gained`;
}

/** Separate the sound that is there, in place of what was under way. */
async function separate(): Promise<void> {
  if (sound === null) return;
  stop.abort();
  const { signal } = (stop = new AbortController());
  const { name, mix } = sound;
  progress.hidden = false;
  progress.value = 0;
  say(`Separating ${name}…`);
  const beganMs = performance.now();
  try {
    const result = await computer.separate(mix, optionsOf(chosen()), signal, (share) => (progress.value = share));
    if (signal.aborted) return;
    const { manifest } = await opened;
    showResult(name, mix, result, manifest.sampleRate, (performance.now() - beganMs) / 1e3);
  } catch (error) {
    if (signal.aborted) return;
    say(`${name} cannot be separated: ${(error as Error).message}`);
  }
  progress.hidden = true;
  await measure();
  await tellProvider();
}

/** Show what runs, where and why; after a change, the machine is measured again. */
async function tellProvider(): Promise<void> {
  const { manifest, provider: first } = await opened;
  const { provider, fallbackReason } = await computer.choose();
  const before = find("runtime").dataset["provider"] ?? first;
  const why = fallbackReason === null ? "" : ` (${fallbackReason})`;
  find("runtime").textContent = `${manifest.name} runs ${PLACES[provider]}${why}.`;
  find("runtime").dataset["provider"] = provider;
  if (provider === before) return;
  predictedMs.clear();
  await measure();
}

function showResult(
  name: string,
  mix: Float32Array,
  result: Separation,
  sampleRate: number,
  tookS: number,
): void {
  const lengthS = (mix.length / sampleRate).toFixed(1);
  const { lowDb, siSdrDb, highDb } = result.estimate ?? { siSdrDb: 0, lowDb: 0, highDb: 0 };
  const quality = `; expected quality ${siSdrDb.toFixed(1)} dB (${lowDb.toFixed(1)} to ${highDb.toFixed(1)})`;
  const alone = result.oneTalker ? "; one person talks, the second voice is silent" : "";
  say(`${name}: ${lengthS} s of sound in ${tookS.toFixed(1)} s${result.estimate === null ? "" : quality}${alone}.`);
  shown = showTracks(find("player"), name, [mix, ...result.sources], sampleRate, shown);
}

/** Find out what each depth takes here, once. */
async function measure(): Promise<void> {
  if (predictedMs.size > 0) return;
  const deepest = Number(depth.max);
  const times = await Promise.all(Array.from({ length: deepest + 1 }, (_, each) => computer.predictedMs(each)));
  times.forEach((ms, each) => predictedMs.set(each, ms));
  await tellDepth();
}

/** Take a sound from a file, a recording or the example. */
async function take(name: string, file: Blob | Promise<Blob>): Promise<void> {
  const mine = (turn += 1);
  stop.abort();
  progress.hidden = true;
  reading = true;
  say(`Reading ${name}…`);
  try {
    const { manifest } = await opened;
    const mix = await decode(await file, manifest.sampleRate);
    if (mine !== turn) return;
    reading = false;
    if (mix.length === 0) throw new Error("it has no sound");
    sound = { name, mix };
  } catch (error) {
    if (mine !== turn) return;
    reading = false;
    say(`${name} cannot be used: ${(error as Error).message}`);
    return;
  }
  await separate();
}

async function takeExample(): Promise<void> {
  await take("The example", fetch(EXAMPLE).then((response) => response.blob()));
}

function listenToFiles(): void {
  const picker = find<HTMLInputElement>("file");
  picker.addEventListener("change", () => {
    const [file] = picker.files ?? [];
    if (file) void take(file.name, file);
    picker.value = "";
  });
  find("example").addEventListener("click", () => void takeExample());
  const drop = find("drop");
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const [file] = event.dataTransfer?.files ?? [];
    if (file) void take(file.name, file);
  });
}

function listenToRecording(): void {
  const button = find<HTMLButtonElement>("record");
  let recording: Awaited<ReturnType<typeof record>> | null = null;
  button.addEventListener("click", async () => {
    if (recording !== null) {
      const ended = recording;
      recording = null;
      button.textContent = "Record";
      button.ariaPressed = "false";
      await take("Your recording", await ended.stop());
      return;
    }
    button.disabled = true;
    try {
      recording = await record();
      turn += 1;
      button.textContent = "Stop";
      button.ariaPressed = "true";
      say("Recording. Stop to separate it.");
    } catch (error) {
      say((error as Error).message);
    }
    button.disabled = false;
  });
}

function listenToEffort(): void {
  for (const [slider, tell] of [
    [depth, tellDepth],
    [budget, tellBudget],
  ] as const) {
    slider.addEventListener("input", () => {
      document.querySelector<HTMLInputElement>(`input[name=effort][value=${slider.id}]`)!.checked = true;
      void tell();
    });
    slider.addEventListener("change", () => void separate());
  }
  for (const radio of document.querySelectorAll("input[name=effort]")) {
    radio.addEventListener("change", () => {
      void tellBudget();
      void separate();
    });
  }
}

async function begin(): Promise<void> {
  listenToFiles();
  listenToRecording();
  listenToLive(() => {
    turn += 1;
    if (reading || !progress.hidden) say("Stopped, to go live.");
    reading = false;
    stop.abort();
    progress.hidden = true;
    if (shown?.player.isPlaying) shown.player.pause();
  });
  try {
    const { manifest, provider } = await opened;
    find("runtime").textContent = `${manifest.name} runs ${PLACES[provider]}.`;
    const measured = manifest.quality?.depths.map((entry) => entry.depth) ?? [];
    depth.max = String(Math.max(manifest.depth.trained, ...measured));
    depth.value = String(manifest.depth.trained);
  } catch (error) {
    say(`The network cannot be loaded: ${(error as Error).message}`);
    return;
  }
  listenToEffort();
  await Promise.all([tellDepth(), tellBudget()]);
  if (turn === 0) await takeExample();
  if ("serviceWorker" in navigator) await navigator.serviceWorker.register("offline.js");
}

void begin();
