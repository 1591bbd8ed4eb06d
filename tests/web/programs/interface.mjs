/**
 * Tries what the interface promises beyond numbers: `node interface.mjs TOY STREAM_TOY EDGE` prints as JSON what each
 * call gave, or its error.
 */
import { Separator, loadBundle } from "tisdiss-rt";

const [offline, streaming, edge] = await Promise.all(
  process.argv.slice(2).map(async (folder) => Separator.open(await loadBundle(folder))),
);
const mix = Float32Array.from({ length: 5000 }, (_, i) => 0.5 * Math.sin(i * i));
const found = {};

/** Keep what a call gives. */
async function keep(name, call) {
  try {
    found[name] = await call();
  } catch (error) {
    found[name] = `${error.name}: ${error.message}`;
  }
}

for (const [name, options] of Object.entries({
  both: { budgetMs: 5, depth: 1 },
  "no budget": { budgetMs: 0 },
  "too deep": { depth: 13 },
  "half a depth": { depth: 1.5 },
  "a least depth that is too deep": { budgetMs: 5, minDepth: 13 },
  "a long window": { windowS: 1 },
  "a gain that cannot be told": { minGainDb: 0.1 },
})) {
  await keep(name, () => offline.separate(mix, options));
}
await keep("window of a stream", () => streaming.separate(mix, { windowS: 1 }));
await keep("negative gain", () => edge.separate(mix, { minGainDb: -1 }));
await keep("empty", () => offline.separate(new Float32Array(0)));
await keep("NaN", () => offline.separate(mix.map((x, i) => (i === 17 ? NaN : x))));
await keep("a list", () => offline.separate([0.1, 0.2]));
await keep("stream of an offline bundle", () => offline.stream());
await keep("precision", async () => Separator.open(await loadBundle(process.argv[2]), { precision: "int8" }));
await keep("provider", async () => Separator.open(await loadBundle(process.argv[2]), { provider: "webgpu" }));
await keep("no choice", () => offline.chooseProvider());
await keep("threads", async () => Separator.open(await loadBundle(process.argv[2]), { threads: 0 }));
await keep("integers", async () => {
  return (await Separator.open(await loadBundle("edge-16k"), { precision: "int8" })).precision;
});
await keep("no bundle", () => loadBundle("nowhere"));

await keep("progress", async () => {
  const told = [];
  const { steps, plan } = await offline.separate(mix, { depth: 2, windowS: 0.1, onProgress: (...s) => told.push(s) });
  return { told, steps: steps.map(({ startS, windowS, depth, missed }) => [startS, windowS, depth, missed]), plan };
});
await keep("stopped", () => {
  const controller = new AbortController();
  const onProgress = (doneS) => doneS > 0.1 && controller.abort();
  return offline.separate(mix, { windowS: 0.05, onProgress, signal: controller.signal });
});
await keep("stopped stream", () => streaming.separate(mix, { signal: AbortSignal.abort() }));
await keep("silence", async () => {
  const { sources, steps } = await offline.separate(new Float32Array(5000), { windowS: 0.05 });
  return [sources.map((voice) => voice.every((x) => x === 0)), steps.every((step) => step.depth === 0)];
});
await keep("budget", async () => {
  const { steps, plan } = await offline.separate(mix, { budgetMs: 1000 });
  return { plan, depth: steps[0].depth, missed: steps[0].missed };
});
await keep("impossible budget", async () => {
  const { steps, plan } = await edge.separate(mix, { budgetMs: 0.01 });
  return [plan.predictedMs > 0.01, plan.depth, steps.every((step) => step.missed)];
});

const stream = await streaming.stream({ depth: 2 });
await keep("latency before", () => stream.latencyMs);
await keep("busy", () => {
  const first = stream.process(mix);
  return stream.process(mix).finally(() => first);
});
await keep("loud", () => stream.process(new Float32Array(128).fill(1e7)));
await keep("after loud", async () => (await stream.process(mix)).map((voice) => voice.length));
await keep("too deep for the stream", () => stream.setDepth(3));
await keep("flush", async () => (await stream.flush()).map((voice) => voice.length));
await keep("ended", () => stream.process(mix));
await keep("again", async () => {
  const given = [];
  for (let turn = 0; turn < 2; ++turn) {
    stream.reset();
    const voices = await stream.process(mix);
    given.push([voices[0].slice(0, 200).join(), stream.depth, [...stream.depthCounts], stream.steps.length]);
  }
  return [given[0][0] === given[1][0], ...given[1].slice(1)];
});
await keep("depth of a stream with a budget", async () => (await streaming.stream({ budgetMs: 5 })).setDepth(1));
await keep("least depth of a stream without a budget", () => stream.setMinDepth(1));
await keep("least depth", async () => {
  const hurried = await streaming.stream({ budgetMs: 1e-6 });
  const depths = [];
  for (const depth of [1, 0, 2]) {
    hurried.setMinDepth(depth);
    await hurried.process(mix.subarray(0, 128));
    depths.push(hurried.depth);
  }
  return depths;
});
await keep("no samples", async () => (await stream.process(new Float32Array(0))).map((voice) => voice.length));
console.log(JSON.stringify(found));
