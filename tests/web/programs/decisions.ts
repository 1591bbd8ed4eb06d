/**
 * The budget's decisions from given times, as tests/embed/programs/decisions.cpp:
 *
 *     node decisions.mjs steps < TEXT           node decisions.mjs plan BUNDLE < TEXT
 */
import { readFileSync } from "node:fs";

import { runStep } from "../../../runtime/web/src/controller.js";
import type { StepEngine } from "../../../runtime/web/src/engine.js";
import { Timings } from "../../../runtime/web/src/forecast.js";
import { parseManifest } from "../../../runtime/web/src/parse-manifest.js";
import type { Plan } from "../../../runtime/web/src/plan.js";
import { Planner } from "../../../runtime/web/src/planner.js";

let clockMs = 0;

/** Takes the given times: of stem, decoder and repetitions. */
class Timed implements StepEngine {
  change = null;
  private next = 2;

  constructor(
    private timesMs: readonly number[],
    private readonly bySamples: ReadonlyMap<number, readonly number[]>,
  ) {}

  async start(mix: Float32Array): Promise<void> {
    this.timesMs = this.bySamples.get(mix.length) ?? this.timesMs;
    this.next = 2;
    clockMs += this.timesMs[0]!;
  }

  async repeat(): Promise<void> {
    clockMs += this.timesMs[this.next++]!;
  }

  async decode(): Promise<Float32Array[]> {
    clockMs += this.timesMs[1]!;
    return [];
  }

  reset(): void {}
}

const [head, ...rows] = readFileSync(0, "utf-8")
  .trim()
  .split("\n")
  .map((line) => line.split(" ").map(Number)) as [number[], ...number[][]];

async function replaySteps(): Promise<void> {
  const [budgetMs, minDepth, maxDepth, advanceS] = head as [number, number, number, number];
  const unused = { windowS: 0, windowSamples: 0, depth: 0, predictedMs: null, qualityDb: null, minGainDb: null };
  const plan: Plan = { ...unused, budgetMs, minDepth, maxDepth, advanceS };
  const timings = new Timings();
  for (const history of [timings.stem, timings.repetition, timings.decoder]) history.add(1);
  for (const row of rows) {
    const engine = new Timed(row, new Map());
    const step = await runStep(engine, new Float32Array(0), plan, timings, null, () => clockMs);
    console.log(step.depth, step.elapsedMs, Number(step.missed));
  }
}

async function replayPlans(folder: string): Promise<void> {
  const manifest = parseManifest(JSON.parse(readFileSync(`${folder}/manifest.json`, "utf-8")));
  const table = rows.slice(0, head[0]) as [number, number, number, number][];
  const bySamples = new Map(
    table.map(([samples, stem, repetition, decoder]) => [samples, [stem, decoder, repetition, repetition]]),
  );
  for (const [budgetMs, minDepth] of rows.slice(table.length)) {
    const planner = new Planner(manifest, () => new Timed([], bySamples), () => clockMs);
    for (let turn = 0; turn < 2; ++turn) {
      const plan = await planner.plan({ budgetMs, minDepth });
      console.log(plan.windowS, plan.depth, plan.maxDepth, plan.predictedMs);
      for (const samples of bySamples.keys()) {
        const { stem, repetition, decoder } = await planner.measure(samples);
        for (const history of [stem, repetition, decoder]) history.add(1000);
      }
    }
  }
}

await (process.argv[2] === "steps" ? replaySteps() : replayPlans(process.argv[3]!));
