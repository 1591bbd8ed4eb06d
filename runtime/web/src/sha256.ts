/**
 * SHA-256 (FIPS 180-4). Browsers have it only on pages that came by HTTPS, and a bundle is checked on every page.
 */

/** The first 32 bits of the fractions of a root of the first primes. */
function fractions(count: number, root: number): Uint32Array {
  const found = new Uint32Array(count);
  for (let n = 2, i = 0; i < count; ++n) {
    let isPrime = true;
    for (let d = 2; d * d <= n && isPrime; ++d) isPrime = n % d !== 0;
    if (isPrime) found[i++] = (n ** root % 1) * 2 ** 32;
  }
  return found;
}

const BEGIN = fractions(8, 1 / 2);
const ROUND = fractions(64, 1 / 3);

/** Return the SHA-256 of bytes in hexadecimal. */
export function sha256(bytes: Uint8Array): string {
  const padded = new Uint8Array(Math.ceil((bytes.length + 9) / 64) * 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(padded.length - 4, bytes.length << 3);
  const state = BEGIN.slice();
  const words = new Uint32Array(64);
  for (let at = 0; at < padded.length; at += 64) {
    for (let i = 0; i < 16; ++i) words[i] = view.getUint32(at + 4 * i);
    addBlock(state, words);
  }
  return Array.from(state, (word) => word.toString(16).padStart(8, "0")).join("");
}

function turn(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}

/** Mix the next block into the state; the first 16 of the words are the block. */
function addBlock(state: Uint32Array, words: Uint32Array): void {
  for (let i = 16; i < 64; ++i) {
    const old = words[i - 15]!;
    const late = words[i - 2]!;
    const s0 = turn(old, 7) ^ turn(old, 18) ^ (old >>> 3);
    const s1 = turn(late, 17) ^ turn(late, 19) ^ (late >>> 10);
    words[i] = words[i - 16]! + s0 + words[i - 7]! + s1;
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
  for (let i = 0; i < 64; ++i) {
    const choice = (e & f) ^ (~e & g);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + choice + ROUND[i]! + words[i]!) | 0;
    const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + majority) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] = state[i]! + word));
}
