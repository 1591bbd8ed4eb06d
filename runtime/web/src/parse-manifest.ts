/**
 * Reads a manifest as strictly as Python does: what one refuses, the other does too.
 */

import { BundleError } from "./errors.js";
import {
  CHANGE,
  DEEPEST,
  ESTIMATE,
  FORMAT,
  GAIN_FEATURES,
  GRAPHS,
  KINDS,
  LEAST_HZ,
  LONGEST_HOP_S,
  LONGEST_S,
  MOST_HZ,
  MOST_NUMBERS,
  MOST_SOURCES,
  MOST_WINDOWS,
  REPEATED_FEATURES,
  SPLIT_FEATURES,
  VOICE,
  type DepthQuality,
  type FileRef,
  type GraphSpec,
  type Kind,
  type Manifest,
  type Part,
} from "./manifest.js";
import { checkStreaming } from "./parse-state.js";
import { integer, list, number, object, orNull, record, size, text, truth, type Read } from "./schema.js";

const fileRef = object<FileRef>({ path: text, sha256: text });
const tensors = list(object({ name: text, shape: list(size) }));
const graph: Read<GraphSpec> = object<GraphSpec>({ inputs: tensors, outputs: tensors, files: record(fileRef) });
const depthQualities = list(
  object<DepthQuality>({ depth: integer, siSdriDb: number, lowDb: number, highDb: number }),
);
const kind: Read<Kind> = (value, where) => {
  const found = KINDS.find((known) => known === text(value, where));
  return found ?? fail(`unknown kind ${JSON.stringify(value)}; there are ${KINDS.join(", ")}`);
};
const manifest: Read<Manifest> = object<Manifest>({
  format: integer,
  name: text,
  kind,
  sampleRate: integer,
  sources: integer,
  minSamples: integer,
  windowsS: list(number),
  depth: object({ trained: integer, max: integer }),
  graphs: object({ stem: graph, block: graph, decoder: graph }),
  stream: orNull(object({ stepSamples: integer, latencySamples: integer })),
  state: list(object({ graph: text, input: text, newest: text, axis: integer })),
  conformance: fileRef,
  quality: orNull(
    object({
      testSet: text,
      metric: text,
      mixtures: integer,
      depths: depthQualities,
      windows: list(object({ windowS: number, depth: integer, siSdriDb: number })),
      scenes: list(object({ scene: text, depths: depthQualities })),
    }),
  ),
  training: orNull(object({ data: text, steps: integer, licence: text })),
  licence: text,
  parts: list(
    object<Part>({ name: text, required: truth, graph: orNull(graph), values: record(list(number)) }),
  ),
});

/** Turn decoded JSON into a manifest; throws a BundleError that names the offending entry. */
export function parseManifest(data: unknown): Manifest {
  const version = isObject(data) ? data["format"] : undefined;
  if (typeof version === "number" && Number.isInteger(version) && version > FORMAT) {
    fail(`made for a newer tisdiss-rt (format ${version}, this one reads ${FORMAT}); upgrade`);
  }
  const found = manifest(version === 1 ? asFormat2(data as Record<string, unknown>) : data, "manifest");
  check(found);
  return found;
}

/** Return every file that a manifest names and that is used here, graphs first. */
export function filesOf(manifest: Manifest): FileRef[] {
  const graphs = GRAPHS.map((name) => manifest.graphs[name]);
  const parts = manifest.parts.filter((part) => part.name === VOICE || part.name === ESTIMATE);
  const all = [...graphs, ...parts.flatMap((part) => part.graph ?? [])];
  return [...all.flatMap((one) => Object.values(one.files)), manifest.conformance];
}

function fail(message: string): never {
  throw new BundleError(message);
}

function need(condition: boolean, message: string): void {
  if (!condition) fail(message);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function asFormat2(data: Record<string, unknown>): Record<string, unknown> {
  const { quality } = data;
  const isNew = "parts" in data || (isObject(quality) && "scenes" in quality);
  need(!isNew, "parts and quality.scenes are unknown to format 1");
  return { ...data, format: 2, parts: [], quality: isObject(quality) ? { ...quality, scenes: [] } : quality };
}

/** Throw a BundleError where the entries have the right types but make no sense. */
function check(manifest: Manifest): void {
  need(manifest.format === FORMAT, `unknown format ${manifest.format}`);
  const rate = manifest.sampleRate;
  const limits: [string, number, number, number][] = [
    ["sample_rate", rate, LEAST_HZ, MOST_HZ],
    ["sources", manifest.sources, 1, MOST_SOURCES],
    ["min_samples", manifest.minSamples, 1, LONGEST_S * rate],
  ];
  for (const [name, value, least, most] of limits) {
    need(least <= value && value <= most, `${name} must be from ${least} to ${most}`);
  }
  checkTensors(manifest);
  if (manifest.kind === "streaming") checkStreaming(manifest, need);
  else checkWindows(manifest);
  checkDepths(manifest);
  const names = manifest.parts.map((part) => part.name);
  need(new Set(names).size === names.length, "parts must have different names");
  for (const part of manifest.parts) {
    if (part.name === VOICE) checkVoice(part, rate);
    else if (part.name === ESTIMATE) {
      const tells = manifest.graphs.block.outputs.some((tensor) => tensor.name === CHANGE);
      need(tells, "the part estimate needs the block's output change");
      checkEstimate(part.values, manifest.kind);
    } else need(!part.required, `needs the part '${part.name}', which this tisdiss-rt does not know; upgrade`);
  }
  for (const { path } of filesOf(manifest)) {
    const isInside = path !== "" && !/[\\:]|^\//.test(path) && !path.split("/").includes("..");
    need(isInside, `the path '${path}' leaves the bundle`);
  }
}

/** Throw where a graph takes what nothing gives, or a shape cannot be. */
function checkTensors(manifest: Manifest): void {
  const { stem, block, decoder } = manifest.graphs;
  for (const name of GRAPHS) need("fp32" in manifest.graphs[name].files, `graphs.${name}.files has no fp32`);
  const mix = stem.inputs.find((tensor) => tensor.name === "mix");
  if (mix === undefined) fail("the stem must take mix");
  need(stem.outputs.some((tensor) => tensor.name === "z"), "the stem has no output z");
  const newest = block.outputs[0];
  need(newest !== undefined && newest.name !== CHANGE, "the block's first output must be the next z");
  const est = decoder.outputs[0];
  if (est?.name !== "est") fail("the decoder's output must be est");
  const known = new Set(["mix"]);
  for (const name of GRAPHS) {
    const buffers = manifest.state.filter((buffer) => buffer.graph === name).map((buffer) => buffer.input);
    const names = manifest.graphs[name].inputs.map((tensor) => tensor.name);
    const unknown = names.filter((input) => !known.has(input) && !buffers.includes(input));
    need(unknown.length === 0, `inputs of ${name} come from nowhere: ${unknown.sort().join(", ")}`);
    if (name === "stem") for (const output of stem.outputs) known.add(output.name);
  }
  for (const tensor of GRAPHS.flatMap((name) => [...manifest.graphs[name].inputs, ...manifest.graphs[name].outputs])) {
    const numbers = tensor.shape.reduce<number>((count, each) => (typeof each === "number" ? count * each : count), 1);
    const isPossible = 0 < numbers && numbers <= MOST_NUMBERS;
    need(isPossible, `the shape of ${tensor.name} must be of up to ${MOST_NUMBERS} numbers`);
  }
  need(est.shape.length === 2 && est.shape[0] === manifest.sources, "est must be (sources, samples)");
  need(mix.shape.length === 2 && mix.shape[0] === 1, "mix must be (1, samples)");
  const changes = block.outputs.slice(1).filter((tensor) => tensor.name === CHANGE);
  const fits = changes.every(({ shape }) => shape.length === 1 && shape[0] === manifest.sources);
  need(fits && changes.length < 2, "change must be (sources,)");
}

function checkWindows(manifest: Manifest): void {
  const { windowsS, stream, state } = manifest;
  const isRising = windowsS.every((windowS, i) => i === 0 || windowsS[i - 1]! < windowS);
  const isPossible = windowsS.length > 0 && isRising && windowsS.length <= MOST_WINDOWS;
  need(isPossible, `windows_s must be up to ${MOST_WINDOWS} numbers in rising order`);
  const leastS = manifest.minSamples / manifest.sampleRate;
  const isInRange = leastS <= windowsS[0]! && windowsS.at(-1)! <= LONGEST_S;
  need(isInRange, `windows_s must be from min_samples, ${leastS} s, to ${LONGEST_S} s`);
  need(stream === null && state.length === 0, "stream and state are for streaming bundles");
}

function checkDepths(manifest: Manifest): void {
  const { depth, quality } = manifest;
  const isRange = depth.trained <= depth.max && 1 <= depth.max && depth.max <= DEEPEST;
  need(isRange, `depth must have 0 <= trained <= max, 1 <= max <= ${DEEPEST}`);
  if (quality === null) return;
  const scenes = quality.scenes.flatMap((scene) => scene.depths);
  const measured = [...quality.depths, ...scenes, ...quality.windows];
  const isPossible = measured.every((entry) => entry.depth <= depth.max);
  need(isPossible, `quality must be of depths from 0 to ${depth.max}`);
}

function checkVoice(part: Part, rate: number): void {
  const values = ["hop", "same", "certainty"].map((key) => part.values[key] ?? []);
  const isComplete = part.graph !== null && "fp32" in part.graph.files;
  const isSensible = values.every((value) => value.length === 1 && value[0]! > 0);
  need(isComplete && isSensible, "the part voice must have a graph, hop, same and certainty");
  const hop = values[0]![0]!;
  need(Number.isInteger(hop), "the hop of the part voice must be a whole number");
  need(hop <= LONGEST_HOP_S * rate, `the hop of the part voice must be of at most ${LONGEST_HOP_S} s`);
  const names = [...part.graph!.inputs, ...part.graph!.outputs].map((tensor) => tensor.name).join(" ");
  const shape = part.graph!.outputs[0]?.shape ?? [];
  const isSized = shape.length === 3 && typeof shape[2] === "number" && shape[2] > 0;
  need(names === "voices prints weights" && isSized, "the part voice must turn voices into prints and weights");
}

/** Throw where the polynomials of an estimate are not complete. */
function checkEstimate(values: Part["values"], kind: Kind): void {
  const sizes = new Map([["interval", 2]]);
  const polynomials: [string, number, string[]][] = [
    ["split", SPLIT_FEATURES, ["level", "spread"]],
    ["repeated", REPEATED_FEATURES, ["level", "spread"]],
    ["gain", GAIN_FEATURES, ["level"]],
  ];
  for (const [of, features, gives] of polynomials) {
    for (const end of ["low", "high"]) sizes.set(`${of}.${end}`, features);
    for (const each of gives) sizes.set(`${of}.${each}`, 1 + features + (features * (features + 1)) / 2);
  }
  for (const [key, count] of sizes) {
    need((values[key] ?? []).length === count, `the part estimate must have ${count} numbers in ${key}`);
  }
  for (const [of] of polynomials) {
    const isRising = values[`${of}.low`]!.every((low, i) => low < values[`${of}.high`]![i]!);
    need(isRising, `the part estimate must have ${of}.low below ${of}.high`);
  }
  if (values["alone"] !== undefined) {
    need(kind === "offline", "the part estimate must have no numbers in alone for streams");
    need(values["alone"].length === 2, "the part estimate must have 2 numbers in alone");
    need(Math.min(...values["alone"]) > 0, "the part estimate must have numbers above 0 in alone");
  }
}
