/**
 * The same as tests/embed/programs/conformance.c with the package for Node:
 *
 *     node conformance.mjs BUNDLE MIX.f32 RUN OUT.f32 [RUN OUT.f32]...
 *
 * writes the voices (sources, samples) of each run, one after the other.
 */
import { readFile, writeFile } from "node:fs/promises";

import { Separator, loadBundle } from "tisdiss-rt";

import { runOf } from "./runs.mjs";

const [, , folder, path, ...pairs] = process.argv;
const bytes = await readFile(path);
const mix = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
const separator = await Separator.open(await loadBundle(folder));
for (let i = 0; i + 1 < pairs.length; i += 2) {
  const voices = await runOf(separator, mix, pairs[i]);
  const bytesOf = (voice) => new Uint8Array(voice.buffer, voice.byteOffset, voice.byteLength);
  await writeFile(pairs[i + 1], Buffer.concat(voices.map(bytesOf)));
}
