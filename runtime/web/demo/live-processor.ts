/**
 * Moves samples between the sound devices and the worker, 128 at a time; nothing is computed here:
 *
 *     microphone ──> worker (under way) ──> waiting ──> headphones
 *
 * A chunk that is not there in time is silence, and counted. It comes later, so that from then on one more is waiting:
 * after a hold-up the sound is behind. When as many were left over for a while, these are left out, but for one: where
 * sound is held up again and again, more and more of it waits, until a calm minute makes it less.
 */

import type { Recorded } from "./messages.js";

interface Processor {
  readonly port: MessagePort;
}

declare const AudioWorkletProcessor: { new (): Processor };
declare function registerProcessor(name: string, type: new () => Processor): void;
declare const currentFrame: number;
declare const sampleRate: number;

const PREFILLED = 4; // chunks that wait before the first is heard
const KEPT = 3; // that wait at least, against the next hold-up; one more after each
const MOST_KEPT = 8;
const CALM = 250; // chunks, for which more must have been waiting all the time before they are left out
const CALM_MINUTE = 7500; // chunks without a hold-up, after which one less is kept
const MOST_UNDER_WAY = 25; // what is recorded beyond that is dropped: late sound helps nobody

class Exchange extends AudioWorkletProcessor {
  private worker: MessagePort | null = null;
  private underWay = 0; // chunks
  private waiting: Float32Array[][] = []; // voices of each chunk
  private heard = 0; // voice
  private hasBegun = false;
  private kept = KEPT;
  private sinceLate = 0; // chunks
  private least = Infinity; // chunks that waited since
  private calm = 0; // chunks were heard
  private late = 0;
  private dropped = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<{ worker?: MessagePort; heard?: number }>) => {
      if (data.heard !== undefined) this.heard = data.heard;
      if (data.worker === undefined) return;
      this.worker = data.worker;
      this.worker.onmessage = (event: MessageEvent<Float32Array[]>) => this.take(event.data);
    };
  }

  /** Take the voices of a chunk; the first have no samples, as the output comes later than the input. */
  private take(voices: Float32Array[]): void {
    this.underWay -= 1;
    if (voices[0]!.length > 0) this.waiting.push(voices);
    this.hasBegun ||= this.waiting.length >= PREFILLED;
  }

  private send(input: Float32Array): void {
    if (this.underWay >= MOST_UNDER_WAY) {
      this.dropped += 1;
      return;
    }
    const chunk = Float32Array.from(input);
    const before = Math.max(PREFILLED, this.waiting.length + this.underWay);
    const dueMs = Date.now() + (1e3 * before * chunk.length) / sampleRate;
    this.underWay += 1;
    this.worker!.postMessage({ chunk, dueMs } satisfies Recorded, [chunk.buffer]);
  }

  /** Return the voices that are due; undefined where they are late. */
  private next(): Float32Array[] | undefined {
    this.least = Math.min(this.least, this.waiting.length);
    if (++this.calm === CALM) {
      if (this.least > this.kept) this.leaveOut(this.least - this.kept);
      this.calm = 0;
      this.least = Infinity;
    }
    const voices = this.waiting.shift();
    this.sinceLate += 1;
    if (voices === undefined) {
      this.late += 1;
      if (this.sinceLate > CALM) this.kept = Math.min(this.kept + 1, MOST_KEPT); // else it is the same hold-up
      this.sinceLate = 0;
    } else if (this.sinceLate === CALM_MINUTE) {
      this.kept = Math.max(this.kept - 1, KEPT);
      this.sinceLate = CALM;
    }
    return voices;
  }

  /** Fade from the first that waits to the one so many after it. */
  private leaveOut(chunks: number): void {
    const [first] = this.waiting.splice(0, chunks);
    this.waiting[0]!.forEach((voice, source) => {
      first![source]!.forEach((old, i) => (voice[i] = old + ((i + 0.5) / voice.length) * (voice[i]! - old)));
    });
  }

  process([input]: Float32Array[][], [output]: Float32Array[][]): boolean {
    if (this.worker !== null) this.send(input?.[0] ?? new Float32Array(output![0]!.length));
    if (!this.hasBegun) return true;
    const voices = this.next();
    for (const channel of output!) if (voices) channel.set(voices[this.heard]!);
    if (currentFrame % 4096 === 0) {
      const { late, dropped, waiting, underWay } = this;
      this.port.postMessage({ late, dropped, waiting: waiting.length + underWay });
    }
    return true;
  }
}

registerProcessor("exchange", Exchange);
