/**
 * Moves samples between the sound devices and the worker, 128 at a time; nothing is computed here:
 *
 *     microphone ──> worker ──> waiting ──> headphones
 *
 * A chunk that is not there in time is silence, and counted. It comes later, so that from then on more is waiting.
 */

interface Processor {
  readonly port: MessagePort;
}

declare const AudioWorkletProcessor: { new (): Processor };
declare function registerProcessor(name: string, type: new () => Processor): void;
declare const currentFrame: number;

const PREFILLED = 4; // chunks that wait before the first is heard
const MOST = 24; // chunks that wait at most; what is more is dropped

class Exchange extends AudioWorkletProcessor {
  private worker: MessagePort | null = null;
  private waiting: Float32Array[][] = []; // voices of each chunk
  private heard = 0; // voice
  private hasBegun = false;
  private late = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<{ worker?: MessagePort; heard?: number }>) => {
      if (data.heard !== undefined) this.heard = data.heard;
      if (data.worker === undefined) return;
      this.worker = data.worker;
      this.worker.onmessage = (event: MessageEvent<Float32Array[]>) => this.take(event.data);
    };
  }

  private take(voices: Float32Array[]): void {
    this.waiting.push(voices);
    if (this.waiting.length > MOST) this.waiting.shift();
    this.hasBegun ||= this.waiting.length >= PREFILLED;
  }

  process([input]: Float32Array[][], [output]: Float32Array[][]): boolean {
    const chunk = Float32Array.from(input?.[0] ?? output![0]!.map(() => 0));
    this.worker?.postMessage(chunk, [chunk.buffer]);
    if (!this.hasBegun) return true;
    const voices = this.waiting.shift();
    if (voices === undefined) this.late += 1;
    for (const channel of output!) if (voices) channel.set(voices[this.heard]!);
    if (currentFrame % 4096 === 0) this.port.postMessage({ late: this.late, waiting: this.waiting.length });
    return true;
  }
}

registerProcessor("exchange", Exchange);
