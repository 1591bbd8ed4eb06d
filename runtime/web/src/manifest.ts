/**
 * The manifest of a bundle: the schema that `tisdiss_rt/manifest` owns, with its names in camel case.
 *
 * Shapes, units and meanings are described there; a manifest is read and checked by `parse-manifest.ts`.
 */

import { OptionError } from "./errors.js";
import { roundEven } from "./numbers.js";

export const FORMAT = 2;
export const GRAPHS = ["stem", "block", "decoder"] as const;
export const KINDS = ["offline", "streaming"] as const;
export const CHANGE = "change"; // output of the block
export const MANIFEST_NAME = "manifest.json";
// Beyond these limits a manifest is damaged or meant to do harm; everything real is far below.
export const MOST_MANIFEST_BYTES = 1048576;
export const MOST_FILE_BYTES = 536870912; // of a graph
export const LEAST_HZ = 1000; // below, some lengths of time are no sample
export const MOST_HZ = 768000;
export const MOST_SOURCES = 6; // as their orders are tried
export const DEEPEST = 64; // repetitions of the block
export const MOST_WINDOWS = 32;
export const LONGEST_S = 60; // of windows, steps and latency
export const LONGEST_HOP_S = 0.25; // of voiceprints: a block of 0.256 s has one at least
export const MOST_NUMBERS = 67108864; // of a tensor of fixed shape, and of all that a stream keeps
export const WINDOW_STRETCH = 4; // by which a window may be longer than the longest of the manifest
export const MOST_INTEGER = 2147483647;
export const VOICE = "voice"; // a part
export const ESTIMATE = "estimate"; // another one
export const SPLIT_FEATURES = 10; // of the polynomials of an estimate
export const REPEATED_FEATURES = 13;
export const GAIN_FEATURES = 5;

export type GraphName = (typeof GRAPHS)[number];
export type Kind = (typeof KINDS)[number];

/** A file of the bundle: its path inside the folder (with `/`) and its SHA-256 in hexadecimal. */
export interface FileRef {
  readonly path: string;
  readonly sha256: string;
}

/** A float32 input or output of a graph; a dimension that varies has a name instead of a number. */
export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly (number | string)[];
}

/** One graph: its tensors in order, and a file for each precision (`fp32` is always there). */
export interface GraphSpec {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly files: Readonly<Record<string, FileRef>>;
}

/** The step of a streaming bundle, in samples at its sample rate. */
export interface StreamTiming {
  readonly stepSamples: number;
  readonly latencySamples: number;
}

/** State of a graph of a streaming bundle: a first-in-first-out buffer along one axis. */
export interface StateBuffer {
  readonly graph: string;
  readonly input: string;
  readonly newest: string;
  readonly axis: number;
}

/** Quality of whole mixtures at one depth, with the limits of its confidence interval, in dB. */
export interface DepthQuality {
  readonly depth: number;
  readonly siSdriDb: number;
  readonly lowDb: number;
  readonly highDb: number;
}

/** Quality at one depth when the mixtures are separated in overlapping windows of one length. */
export interface WindowQuality {
  readonly windowS: number;
  readonly depth: number;
  readonly siSdriDb: number;
}

/** Measured quality, and the test set; the means over `scenes` where there are any. */
export interface Quality {
  readonly testSet: string;
  readonly metric: string;
  readonly mixtures: number;
  readonly depths: readonly DepthQuality[];
  readonly windows: readonly WindowQuality[];
  readonly scenes: readonly { readonly scene: string; readonly depths: readonly DepthQuality[] }[];
}

/** An addition to the three graphs: a further graph, or null, and numbers by name. */
export interface Part {
  readonly name: string;
  readonly required: boolean;
  readonly graph: GraphSpec | null;
  readonly values: Readonly<Record<string, readonly number[]>>;
}

/** Everything that a runtime in any language needs besides the graphs. */
export interface Manifest {
  readonly format: number;
  readonly name: string;
  readonly kind: Kind;
  readonly sampleRate: number;
  readonly sources: number;
  readonly minSamples: number;
  readonly windowsS: readonly number[];
  readonly depth: { readonly trained: number; readonly max: number };
  readonly graphs: Readonly<Record<GraphName, GraphSpec>>;
  readonly stream: StreamTiming | null;
  readonly state: readonly StateBuffer[];
  readonly conformance: FileRef;
  readonly quality: Quality | null;
  readonly training: { readonly data: string; readonly steps: number; readonly licence: string } | null;
  readonly licence: string;
  readonly parts: readonly Part[];
}

/** Return the part of this name, or null. */
export function partOf(manifest: Manifest, name: string): Part | null {
  return manifest.parts.find((part) => part.name === name) ?? null;
}

/** Return the lengths of window or step to choose from, in rising order, or the one that is asked for. */
export function lengthsS(manifest: Manifest, askedS?: number): readonly number[] {
  const { stream, sampleRate, windowsS } = manifest;
  if (askedS === undefined) return stream === null ? windowsS : [stream.stepSamples / sampleRate];
  if (stream !== null) throw new OptionError("a streaming bundle has steps of fixed length; leave the window out");
  const leastS = manifest.minSamples / sampleRate;
  const mostS = WINDOW_STRETCH * windowsS.at(-1)!;
  if (!(leastS <= askedS && askedS <= mostS)) {
    const range = `the window must be from ${leastS} to ${mostS} s, not ${askedS}`;
    throw new OptionError(`${range}; the memory that it takes grows with its square`);
  }
  return [askedS];
}

/** Return the samples of a window or step; a window's are even, so that its halves overlap exactly. */
export function lengthSamples(manifest: Manifest, lengthS: number): number {
  if (manifest.stream !== null) return manifest.stream.stepSamples;
  return Math.max(2, 2 * roundEven((lengthS * manifest.sampleRate) / 2));
}

/** Return how far a step advances from the one before, in seconds: windows overlap by half. */
export function advanceS(manifest: Manifest, lengthS: number): number {
  return manifest.stream === null ? lengthS / 2 : lengthS;
}

/** Return the quality in dB that was measured for a window or step, by depth. */
export function qualityDb(manifest: Manifest, lengthS: number): ReadonlyMap<number, number> {
  const { quality, stream } = manifest;
  if (quality === null) return new Map();
  const found = stream === null ? quality.windows.filter((entry) => entry.windowS === lengthS) : quality.depths;
  return new Map(found.map((entry) => [entry.depth, entry.siSdriDb]));
}
