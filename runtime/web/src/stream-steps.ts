/**
 * The graphs of a streaming bundle, step by step: the state of each graph is kept outside of it, that of the block
 * once for each repetition:
 *
 *     mix ──> stem ──────> block ──────> block ──────> decoder ──> est        one step
 *             buffers      buffers 1     buffers 2     buffers
 *
 * A step may run fewer repetitions than the one before. What it skips would then have a hole in its history, so every
 * skipped repetition is given the newest entries of the deepest one that ran.
 */

import { refuseUnusable, type Engine, type StepEngine } from "./engine.js";
import { BundleError } from "./errors.js";
import { CHANGE, type GraphName, type TensorSpec } from "./manifest.js";
import { numbersOf, type Tensors } from "./onnx-runtime.js";

export const ROOM = 128; // slots behind the entries of a buffer
export const APART = 37; // no common factor with ROOM: that many buffers of that room move back in different steps

/**
 * The newest L entries along one axis, always in one piece and in order, zeros at the start.
 *
 * Seen as a row of slots, a slot for each entry of each place before the axis, all entries of a place move by one slot
 * where the beginning of the row does. Then the last slot of each place has an entry of its neighbour, and the newest
 * goes there. With two places and L = 3, before and after c and z are pushed:
 *
 *     slot      0   1   2   3   4   5   6   7
 *     content   0   a   b   0   x   y   .   .
 *               |<------ window ----->|
 *     content       a   b   c   x   y   z   .
 *                   |<------ window ----->|
 *
 * Only where the room behind the row is used up, the window moves back to the beginning.
 */
export class Fifo {
  private readonly places: number; // before the axis
  private readonly entry: number; // numbers of an entry
  private readonly row: number; // slots
  private readonly room: number; // slots behind the row
  private readonly slots: Float32Array;
  private begin: number; // slot at which the window begins

  /**
   * @param shape of the buffer.
   * @param axis along which the entries lie.
   * @param count entries that each push appends, at most L.
   * @param begin slot at which the window begins at first, modulo the room: buffers of equal room that begin at
   *   different ones do not move back in the same step.
   */
  constructor(
    readonly shape: readonly number[],
    axis: number,
    private readonly count: number,
    begin: number,
  ) {
    this.places = shape.slice(0, axis).reduce((product, size) => product * size, 1);
    this.entry = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
    this.row = this.places * shape[axis]!;
    this.room = Math.min(Math.max(ROOM, count), this.row);
    this.slots = new Float32Array((this.row + this.room) * this.entry);
    this.begin = begin % this.room;
  }

  /** All entries, oldest first, until the next push. */
  get window(): Float32Array {
    return this.slots.subarray(this.begin * this.entry, (this.begin + this.row) * this.entry);
  }

  /** Append (..., count, ...) entries, zeros for null; as many of the oldest are dropped. */
  push(newest: Float32Array | null): void {
    if (this.begin + this.count > this.room) {
      const from = this.begin * this.entry;
      this.slots.copyWithin(0, from, from + this.row * this.entry);
      this.begin = 0;
    }
    this.begin += this.count;
    const length = this.row / this.places;
    const numbers = this.count * this.entry;
    for (let place = 0; place < this.places; ++place) {
      const target = (this.begin + (place + 1) * length - this.count) * this.entry;
      if (newest) this.slots.set(newest.subarray(place * numbers, (place + 1) * numbers), target);
      else this.slots.fill(0, target, target + numbers);
    }
  }

  /** Make all entries zeros. */
  clear(): void {
    this.slots.fill(0);
  }
}

/** The buffers of a graph, or of one repetition, and what belongs to each. */
interface Memory {
  readonly fifos: readonly Fifo[];
  readonly inputs: readonly string[];
  readonly newest: readonly string[];
}

/** One stream on an engine: its buffers, and the calls that the controller makes in every step. */
export class StreamSteps implements StepEngine {
  change: Float32Array | null = null;
  private readonly stem: Memory;
  private readonly block: readonly Memory[];
  private readonly decoder: Memory;
  private buffers = 0; // made so far
  private tensors: Tensors = {};
  private depth = 0; // of the step under way
  private newest: readonly Float32Array[] | null = null; // of the deepest repetition so far

  /** @param maxDepth the most repetitions that a step runs. */
  constructor(
    private readonly engine: Engine,
    maxDepth: number,
  ) {
    this.stem = this.memory("stem");
    this.block = Array.from({ length: maxDepth }, () => this.memory("block"));
    this.decoder = this.memory("decoder");
  }

  private memory(name: GraphName): Memory {
    const { inputs, outputs } = this.engine.manifest.graphs[name];
    const shapeOf = (tensors: readonly TensorSpec[], wanted: string): number[] =>
      tensors.find((tensor) => tensor.name === wanted)!.shape.map(Number);
    const state = this.engine.manifest.state.filter((buffer) => buffer.graph === name);
    return {
      fifos: state.map(({ input, newest, axis }) => {
        const count = shapeOf(outputs, newest)[axis]!;
        return new Fifo(shapeOf(inputs, input), axis, count, APART * this.buffers++);
      }),
      inputs: state.map((buffer) => buffer.input),
      newest: state.map((buffer) => buffer.newest),
    };
  }

  reset(): void {
    for (const memory of [this.stem, ...this.block, this.decoder]) for (const fifo of memory.fifos) fifo.clear();
  }

  /** Run the stem on (step_samples,). */
  async start(mix: Float32Array): Promise<void> {
    this.depth = 0;
    this.newest = null;
    this.tensors = { mix: this.engine.graphs.stem.tensor(mix.slice(), [1, mix.length]) };
    Object.assign(this.tensors, (await this.run("stem", this.stem)).outputs);
  }

  async repeat(): Promise<void> {
    const { outputs, newest } = await this.run("block", this.block[this.depth]!);
    this.tensors["z"] = outputs[this.engine.manifest.graphs.block.outputs[0]!.name]!;
    this.newest = newest;
    const change = outputs[CHANGE];
    this.change = change === undefined ? null : numbersOf(change);
    this.depth += 1;
  }

  /** Run the decoder, and end the step for the repetitions that it skipped. */
  async decode(): Promise<Float32Array[]> {
    const { manifest } = this.engine;
    const { outputs } = await this.run("decoder", this.decoder);
    for (const memory of this.block.slice(this.depth)) {
      memory.fifos.forEach((fifo, i) => fifo.push(this.newest?.[i] ?? null));
    }
    const numbers = numbersOf(outputs["est"]!);
    const samples = numbers.length / manifest.sources;
    const estimate = Array.from({ length: manifest.sources }, (_, source) =>
      numbers.slice(source * samples, (source + 1) * samples),
    );
    refuseUnusable(estimate, manifest);
    return estimate;
  }

  /** Run a graph with inputs found by name, and append what is new to its memory. */
  private async run(name: GraphName, memory: Memory): Promise<{ outputs: Tensors; newest: Float32Array[] }> {
    const graph = this.engine.graphs[name];
    const inputs = { ...this.tensors };
    memory.fifos.forEach((fifo, i) => (inputs[memory.inputs[i]!] = graph.tensor(fifo.window, fifo.shape)));
    const outputs = await graph.run(inputs);
    for (const { name: output, shape } of this.engine.manifest.graphs[name].outputs) {
      if (String(outputs[output]!.dims) === String(shape)) continue;
      throw new BundleError(`the ${name} graph returned other shapes than the manifest lists`);
    }
    const newest = memory.newest.map((output) => numbersOf(outputs[output]!));
    memory.fifos.forEach((fifo, i) => fifo.push(newest[i]!));
    return { outputs, newest };
  }
}
