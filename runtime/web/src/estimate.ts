/**
 * How good voices are, without a reference: what a bundle's part `estimate` says of a window.
 *
 * The polynomials are those of `tisdiss_rt/estimate`, of the same features.
 */

import { aloneFeatures, gainFeatures, voiceFeatures } from "./features.js";
import { ESTIMATE, partOf, type Manifest, type Part } from "./manifest.js";
import { statisticsOf } from "./statistics.js";
import { argmax, sum } from "./numbers.js";

export const ALONE_DEPTH = 1; // at which it is asked whether a voice is alone
export const LEAST_DB = -10; // that are told: what is beyond counts as the limit
export const MOST_DB = 30;
export const SILENT = 1e-3; // of the power of all voices: below it a voice does not talk

/** What the SI-SDR of a voice is expected to be, and an interval that holds in 80 of 100 cases, in dB. */
export interface Estimated {
  readonly siSdrDb: number;
  readonly lowDb: number;
  readonly highDb: number;
}

/** How much each repetition changed the map of each voice: (repetitions, sources). */
export type Changes = readonly (readonly number[])[];

/**
 * A polynomial of second degree in several features, which are brought to the range from -1 to 1: a feature beyond what
 * was calibrated counts as the nearest that was. Weights are of 1, the features, and their products by pairs.
 */
class Polynomial {
  private readonly low: readonly number[];
  private readonly high: readonly number[];
  private readonly weights: readonly number[];

  constructor(values: Part["values"], name: string, gives: string) {
    this.low = values[`${name}.low`]!;
    this.high = values[`${name}.high`]!;
    this.weights = values[`${name}.${gives}`]!;
  }

  at(features: readonly number[]): number {
    const unit = features.map((feature, i) => {
      const scaled = (2 * (feature - this.low[i]!)) / (this.high[i]! - this.low[i]!) - 1;
      return Math.min(1, Math.max(-1, scaled));
    });
    const products = unit.flatMap((a, i) => unit.slice(i).map((b) => a * b));
    return sum([1, ...unit, ...products].map((term, i) => term * this.weights[i]!));
  }
}

/** Estimates the quality of the voices of windows. */
export class Estimator {
  private readonly levels: readonly Polynomial[]; // after the split alone, and after repetitions
  private readonly spreads: readonly Polynomial[]; // logarithms
  private readonly gain: Polynomial;
  private readonly below: number;
  private readonly above: number;
  private readonly leastAlone: readonly number[] | undefined; // levels of `aloneFeatures`

  constructor(
    values: Part["values"],
    private readonly sampleRate: number,
  ) {
    this.levels = ["split", "repeated"].map((name) => new Polynomial(values, name, "level"));
    this.spreads = ["split", "repeated"].map((name) => new Polynomial(values, name, "spread"));
    this.gain = new Polynomial(values, "gain", "level");
    [this.below, this.above] = values["interval"] as [number, number];
    this.leastAlone = values["alone"];
  }

  /**
   * Estimate the quality of each voice of a window.
   *
   * @param mix (n,) at the sample rate.
   * @param voices (sources, n), as separated.
   * @returns for each voice its quality, or null where it does not talk.
   */
  voices(mix: Float32Array, voices: readonly Float32Array[], changes: Changes): (Estimated | null)[] {
    const statistics = statisticsOf(mix, voices, this.sampleRate);
    const way = changes.length === 0 ? 0 : 1;
    const all = sum(statistics.voices.map((voice) => voice.power));
    return voices.map((_, voice) => {
      if (!(statistics.voices[voice]!.power > SILENT * all)) return null;
      const features = voiceFeatures(statistics, voice, changes, mix.length / this.sampleRate);
      const levelDb = this.levels[way]!.at(features);
      const spread = Math.exp(this.spreads[way]!.at(features));
      return {
        siSdrDb: told(levelDb),
        lowDb: told(levelDb - this.below * spread),
        highDb: told(levelDb + this.above * spread),
      };
    });
  }

  /** Return what one more repetition is expected to add to the mean SI-SDR of the voices, in dB. */
  gainDb(changes: Changes, windowS: number): number {
    return this.gain.at(gainFeatures(changes, windowS));
  }

  /** Return whether the voices at a depth tell which windows have one voice alone. */
  tellsAlone(depth: number): boolean {
    return this.leastAlone !== undefined && depth === ALONE_DEPTH;
  }

  /**
   * Return the voices of a window in which one is alone, without noise: that one as it is in the mixture, and silence.
   *
   * @param mix (n,) at the sample rate.
   * @param voices (sources, n), as separated at a depth that tells it.
   * @returns (sources, n), or null where several voices are, or noise.
   */
  alone(mix: Float32Array, voices: readonly Float32Array[]): Float32Array[] | null {
    const statistics = statisticsOf(mix, voices, this.sampleRate);
    if (aloneFeatures(statistics).some((level, i) => level < this.leastAlone![i]!)) return null;
    const loudest = argmax(statistics.voices.map((voice) => voice.power));
    return voices.map((voice, source) => (source === loudest ? mix.slice() : new Float32Array(voice.length)));
  }
}

function told(levelDb: number): number {
  return Math.min(MOST_DB, Math.max(LEAST_DB, levelDb));
}

/** Return what estimates the quality of a bundle's voices; null where it does not say how. */
export function estimatorOf(manifest: Manifest): Estimator | null {
  const part = partOf(manifest, ESTIMATE);
  return part && new Estimator(part.values, manifest.sampleRate);
}
