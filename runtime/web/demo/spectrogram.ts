/** Draws sound: time from left to right, frequency from below, the louder the brighter. */

const FRAME = 512; // samples, a power of two
const RANGE_DB = 70; // from black to the brightest

/** Draw a signal on the whole of a canvas. `loudest` is the power that is brightest, the same for all tracks. */
export function drawSpectrogram(canvas: HTMLCanvasElement, signal: Float32Array, loudest: number): void {
  const scale = globalThis.devicePixelRatio || 1;
  const width = (canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale)));
  const height = (canvas.height = FRAME / 2);
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, height);
  for (let x = 0; x < width; ++x) {
    const power = powerAt(signal, Math.round(((x + 0.5) * signal.length) / width));
    for (let bin = 0; bin < height; ++bin) {
      const level = 1 + (10 * Math.log10(power[bin]! / loudest + 1e-12)) / RANGE_DB;
      image.data.set(colour(Math.min(1, Math.max(0, level))), 4 * ((height - 1 - bin) * width + x));
    }
  }
  context.putImageData(image, 0, 0);
}

/** Return the greatest power in any frame and bin of a signal. */
export function loudestOf(signal: Float32Array): number {
  let loudest = 1e-9;
  for (let at = 0; at < signal.length; at += FRAME) loudest = Math.max(loudest, ...powerAt(signal, at));
  return loudest;
}

/** Return the power of each bin (FRAME / 2,) around a sample. */
function powerAt(signal: Float32Array, centre: number): Float64Array {
  const real = new Float64Array(FRAME);
  const imaginary = new Float64Array(FRAME);
  for (let i = 0; i < FRAME; ++i) {
    const window = 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FRAME);
    real[i] = window * (signal[centre - FRAME / 2 + i] ?? 0);
  }
  transform(real, imaginary);
  return Float64Array.from({ length: FRAME / 2 }, (_, bin) => real[bin]! ** 2 + imaginary[bin]! ** 2);
}

/** The Fourier transform of a power of two, in place (Cooley and Tukey). */
function transform(real: Float64Array, imaginary: Float64Array): void {
  const n = real.length;
  for (let i = 1, j = 0; i < n; ++i) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j]!, real[i]!];
      [imaginary[i], imaginary[j]] = [imaginary[j]!, imaginary[i]!];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    for (let k = 0; k < size / 2; ++k) {
      const [cos, sin] = [Math.cos((2 * Math.PI * k) / size), -Math.sin((2 * Math.PI * k) / size)];
      for (let at = k; at < n; at += size) {
        const other = at + size / 2;
        const re = real[other]! * cos - imaginary[other]! * sin;
        const im = real[other]! * sin + imaginary[other]! * cos;
        real[other] = real[at]! - re;
        imaginary[other] = imaginary[at]! - im;
        real[at] = real[at]! + re;
        imaginary[at] = imaginary[at]! + im;
      }
    }
  }
}

/** Return red, green, blue and opacity for a level from 0 to 1: black, violet, orange, pale yellow. */
function colour(level: number): [number, number, number, number] {
  const red = 255 * Math.min(1, 1.6 * level);
  const green = 255 * Math.max(0, 1.5 * level - 0.5);
  const blue = 255 * (level < 0.5 ? 0.9 * level : Math.max(0.2, 0.9 - 0.9 * level) + Math.max(0, 3 * level - 2.4));
  return [red, green, Math.min(255, blue), 255];
}
