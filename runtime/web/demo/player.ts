/** Plays tracks of one length in step: all run at once, and one of them is heard. */

const FADE_S = 0.005; // from one track to another

/** Opened again for every sound. */
export class Player {
  heard = 0;
  /** Called when the end is reached. */
  onEnded: () => void = () => {};
  private context: AudioContext | null = null; // made by the first gesture that wants sound
  private sources: AudioBufferSourceNode[] = [];
  private gains: GainNode[] = [];
  private fromS = 0; // where it stands, or stood when it began to play
  private beganS: number | null = null; // on the context's clock; null until it is heard
  private turn: symbol | null = null; // of the call that plays; null while paused

  /** @param tracks (n,) each, at the sample rate. */
  constructor(
    private readonly tracks: readonly Float32Array[],
    private readonly sampleRate: number,
  ) {}

  get lengthS(): number {
    return this.tracks[0]!.length / this.sampleRate;
  }

  get isPlaying(): boolean {
    return this.turn !== null;
  }

  get positionS(): number {
    if (this.context === null || this.beganS === null) return this.fromS;
    return Math.min(this.fromS + Math.max(0, this.context.currentTime - this.beganS), this.lengthS);
  }

  async play(): Promise<void> {
    if (this.isPlaying) return;
    const turn = (this.turn = Symbol());
    const context = (this.context ??= new AudioContext());
    await context.resume();
    if (turn !== this.turn) return; // paused since then
    if (this.fromS >= this.lengthS) this.fromS = 0;
    this.beganS = context.currentTime;
    this.gains = this.tracks.map(() => new GainNode(context, { gain: 0 }));
    this.sources = this.tracks.map((track, i) => {
      const buffer = new AudioBuffer({ length: track.length, sampleRate: this.sampleRate });
      buffer.copyToChannel(Float32Array.from(track), 0);
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(this.gains[i]!).connect(context.destination);
      source.start(this.beganS!, this.fromS);
      return source;
    });
    this.sources[0]!.onended = () => {
      this.pause();
      this.onEnded();
    };
    this.listen(this.heard);
  }

  pause(): void {
    this.fromS = this.positionS;
    this.beganS = this.turn = null;
    for (const source of this.sources) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.sources = [];
  }

  async seek(positionS: number): Promise<void> {
    const wasPlaying = this.isPlaying;
    if (wasPlaying) this.pause();
    this.fromS = Math.min(Math.max(0, positionS), this.lengthS);
    if (wasPlaying) await this.play();
  }

  /** Switch to a track at once. */
  listen(track: number): void {
    this.heard = track;
    const now = this.context?.currentTime ?? 0;
    this.gains.forEach((gain, i) => gain.gain.setTargetAtTime(i === track ? 1 : 0, now, FADE_S));
  }

  async close(): Promise<void> {
    this.pause();
    await this.context?.close();
  }
}
