/** What a mixture must be. */

import { AudioError } from "./errors.js";

export const LOUDEST = 1e6; // larger samples are no audio of full scale 1; a network that follows levels never recovers

/** Throw an AudioError unless a mixture has numbers of sensible size only. */
export function checkMix(mix: Float32Array): void {
  if (!(mix instanceof Float32Array)) throw new AudioError("the mixture must be a Float32Array of one channel");
  if (!mix.every(Number.isFinite)) throw new AudioError("the mixture has NaN or infinity: replace them");
}

/** Throw an AudioError where a mixture is far beyond full scale. */
export function checkLevel(mix: Float32Array): void {
  if (mix.every((x) => Math.abs(x) <= LOUDEST)) return;
  throw new AudioError(`the mixture has samples beyond ${LOUDEST}, where full scale is 1: scale it down`);
}
