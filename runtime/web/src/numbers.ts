/** Arithmetic that has to be the same in every language. */

export const SILENCE = 1e-10; // a peak below it: less than any integer format can hold

/** Round to the nearest whole number, halves to the even one, as Python and C++ do. */
export function roundEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/** Return the weights (samples,) of what begins at a joint: a raised cosine, from 0 to 1. */
export function fadeIn(samples: number): Float32Array {
  return Float32Array.from({ length: samples }, (_, i) => 0.5 - 0.5 * Math.cos((Math.PI * (i + 0.5)) / samples));
}

/** Return whether sound is so quiet that the network need not run. */
export function isSilent(samples: Float32Array): boolean {
  return samples.every((x) => Math.abs(x) < SILENCE);
}

/** Return the sum of products of two signals, as far as the shorter one goes. */
export function product(a: Float32Array, b: Float32Array): number {
  const samples = Math.min(a.length, b.length);
  let sum = 0;
  for (let i = 0; i < samples; ++i) sum += a[i]! * b[i]!;
  return sum;
}

/** Return rows of zeros: (rows, samples). */
export function zeros(rows: number, samples: number): Float32Array[] {
  return Array.from({ length: rows }, () => new Float32Array(samples));
}

/** Return the place of the greatest number, the first one of equals. */
export function argmax(numbers: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < numbers.length; ++i) if (numbers[i]! > numbers[best]!) best = i;
  return best;
}

/** Return the sum of numbers. */
export function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
