/** Runs a mixture as the conformance programs of all languages are told to: the same in Node and in browsers. */

/** Return the voices (sources, samples) of a run, such as `separate:2`, `windows:1:0.5` or `stream:4:777`. */
export async function runOf(separator, mix, run) {
  const [what, first, second, third] = run.split(":");
  const depths = first.split(",").map(Number);
  const depth = Math.max(...depths);
  if (what === "separate") return (await separator.separate(mix, { depth })).sources;
  if (what === "windows") return (await separator.separate(mix, { depth, windowS: Number(second) })).sources;
  if (what === "estimate") {
    const options = { depth, windowS: Number(second) || undefined, minGainDb: Number(third) || undefined };
    const { sources, estimate, steps } = await separator.separate(mix, options);
    return told(sources, estimate, steps.at(-1).depth);
  }
  const stream = await separator.stream({ depth });
  if (what === "beside") {
    const other = await separator.stream({ depth: Number(second) });
    return (await Promise.all([stream, other].map((each) => byChunks(each, mix, 128))))[0];
  }
  if (what === "steps") return bySteps(stream, mix, depths);
  const voices = await byChunks(stream, mix, Number(second));
  if (what !== "told") return voices;
  const heard = stream.voices.filter((voice) => voice !== null);
  const mean = (of) => heard.reduce((total, voice) => total + of(voice), 0) / heard.length;
  const estimate = { siSdrDb: mean((v) => v.siSdrDb), lowDb: mean((v) => v.lowDb), highDb: mean((v) => v.highDb) };
  return told(voices, estimate, stream.depth);
}

/** Put what is told of voices in the place of their first samples. */
function told(voices, { siSdrDb, lowDb, highDb }, depth) {
  voices[0].set([siSdrDb, lowDb, highDb, depth]);
  return voices;
}

async function byChunks(stream, mix, chunk) {
  const pieces = [];
  for (let at = 0; at < mix.length; at += chunk) pieces.push(await stream.process(mix.subarray(at, at + chunk)));
  pieces.push(await stream.flush());
  return joined(pieces);
}

async function bySteps(stream, mix, depths) {
  const step = Math.round(stream.stepS * 16000);
  const padded = new Float32Array(depths.length * step);
  padded.set(mix);
  const pieces = [];
  for (const [i, depth] of depths.entries()) {
    stream.setDepth(depth);
    pieces.push(await stream.process(padded.subarray(i * step, (i + 1) * step)));
  }
  return joined(pieces).map((voice) => voice.slice(0, mix.length));
}

function joined(pieces) {
  return pieces[0].map((_, source) => Float32Array.from(pieces.flatMap((piece) => [...piece[source]])));
}
