/** What is known of each voice of a window without a reference, as numbers to estimate its quality from. */

import type { Changes } from "./estimate.js";
import { sum } from "./numbers.js";
import type { Statistics } from "./statistics.js";

export const LEAST = 1e-6; // of a ratio of powers: beyond that nothing more is told
export const DEEPEST = 8; // repetitions that are told apart
export const QUIET = 10; // one of so many frames is a pause of a voice

const TINY = 1e-20; // against division by nothing

/** Return a ratio of powers in dB, from -60 on. */
function decibels(ratio: number): number {
  return 10 * Math.log10(Math.max(ratio, LEAST));
}

/** Compute the features of one voice of a window. */
export function voiceFeatures(statistics: Statistics, voice: number, changes: Changes, windowS: number): number[] {
  const { mix, rest, voices } = statistics;
  const mixture = mix.power + TINY;
  const powers = voices.map((one) => one.power + TINY);
  const own = powers[voice]!;
  return [
    ...changeFeatures(changes),
    decibels(own / mixture),
    decibels((sum(powers) - own) / mixture),
    decibels((rest.power + TINY) / mixture),
    likeness(statistics.products, voice),
    ...timeFeatures(statistics, voice),
    decibels(voices[voice]!.steps / own),
    decibels(mix.steps / mixture),
    Math.log2(windowS),
  ];
}

/** Return the mean last change, how much less it is than the one before, and the depth. */
function changeFeatures(changes: Changes): number[] {
  if (changes.length === 0) return [];
  const { last, before } = lastChanges(changes);
  return [mean(last), mean(before) - mean(last), Math.min(changes.length, DEEPEST)];
}

/** Return by how many dB other voices are below the loudest, and what no voice has below the mixture. */
export function aloneFeatures({ mix, rest, voices }: Statistics): [number, number] {
  const powers = voices.map((one) => one.power + TINY);
  const loudest = Math.max(...powers);
  return [-decibels((sum(powers) - loudest) / loudest), -decibels((rest.power + TINY) / (mix.power + TINY))];
}

/** Compute the features of a window from which the gain of one more repetition is told. */
export function gainFeatures(changes: Changes, windowS: number): number[] {
  const { last, before } = lastChanges(changes);
  const depth = Math.min(changes.length, DEEPEST);
  return [mean(last), Math.max(...last) - mean(last), mean(before) - mean(last), depth, Math.log2(windowS)];
}

/** Return in dB what the last repetition and the one before it changed (sources,). */
function lastChanges(changes: Changes): { last: number[]; before: number[] } {
  const [before, last] = [changes.at(-2) ?? changes.at(-1)!, changes.at(-1)!];
  const inDb = (change: number): number => decibels(change * change);
  return { last: last.map(inDb), before: before.map(inDb) };
}

/** Return how much a voice is like that of the others which is most like it, from 0 to 1. */
function likeness(products: Statistics["products"], voice: number): number {
  const lengths = products.map((row, i) => Math.sqrt(row[i]!) + 1e-10);
  const alike = products[voice]!.map((product, i) => Math.abs(product) / lengths[voice]! / lengths[i]!);
  return Math.max(0, ...alike.filter((_, i) => i !== voice));
}

/** Return the contested share of a voice, how even it is, and its pauses, in dB. */
function timeFeatures({ voices }: Statistics, voice: number): number[] {
  const own = Array.from(voices[voice]!.frames);
  const power = voices[voice]!.power + TINY;
  const contested = own.map((square, frame) => {
    const whole = sum(voices.map((one) => one.frames[frame]!));
    return (square * (whole - square)) / (whole + TINY);
  });
  const even = power ** 2 / (mean(own.map((square) => square ** 2)) + TINY);
  const quietest = Float64Array.from(own).sort().slice(0, Math.max(1, Math.floor(own.length / QUIET)));
  return [decibels(mean(contested) / power), decibels(even), decibels(mean(quietest) / power)];
}

function mean(numbers: ArrayLike<number> & Iterable<number>): number {
  return sum(numbers) / numbers.length;
}
