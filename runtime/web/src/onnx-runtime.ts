/**
 * The one place that calls ONNX Runtime: its packages for browsers and for Node have the same interface.
 */

import type { InferenceSession, Tensor, TensorConstructor } from "onnxruntime-common";

import { BundleError, firstLine } from "./errors.js";
import type { GraphSpec, TensorSpec } from "./manifest.js";

/** What a package of ONNX Runtime offers, as far as it is used here. */
export interface OnnxRuntime {
  readonly InferenceSession: {
    create(model: Uint8Array, options: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  readonly Tensor: TensorConstructor;
}

/** ONNX Runtime as a browser or Node has it. */
export interface Platform {
  readonly ort: OnnxRuntime;
  /** What runs the graphs, by ONNX Runtime's name. */
  readonly provider: string;
  /** Return how many threads to use, 0 for ONNX Runtime's own choice; called before the first graph is opened. */
  useThreads(asked: number): number;
}

/** Tensors by name. */
export type Tensors = Record<string, Tensor>;

/** A graph that is ready to run. */
export class Graph {
  private constructor(
    private readonly session: InferenceSession,
    private readonly ort: OnnxRuntime,
    private readonly label: string,
  ) {}

  /** Open a graph; throws BundleError where it has other tensors than the manifest lists. */
  static async open(
    platform: Platform,
    content: Uint8Array,
    spec: GraphSpec,
    threads: number,
    label: string,
  ): Promise<Graph> {
    let session: InferenceSession;
    try {
      session = await platform.ort.InferenceSession.create(content, optionsOf(platform.provider, threads));
    } catch (error) {
      throw new BundleError(`ONNX Runtime cannot load the ${label}: ${firstLine(error)}`, { cause: error });
    }
    checkTensors(session.inputMetadata, spec.inputs, label);
    checkTensors(session.outputMetadata, spec.outputs, label);
    return new Graph(session, platform.ort, label);
  }

  /** Return a tensor over numbers, which are not copied. */
  tensor(data: Float32Array, shape: readonly number[]): Tensor {
    return new this.ort.Tensor("float32", data, shape);
  }

  /** Run the graph with its inputs, found by name; returns its outputs. */
  async run(tensors: Tensors): Promise<Tensors> {
    const inputs = Object.fromEntries(this.session.inputNames.map((name) => [name, tensors[name]!]));
    try {
      return (await this.session.run(inputs)) as Tensors;
    } catch (error) {
      throw new BundleError(`the ${this.label} failed: ${firstLine(error)}`, { cause: error });
    }
  }

  /** Free what ONNX Runtime holds. */
  async release(): Promise<void> {
    await this.session.release();
  }
}

/** Return the numbers of a tensor that is in main memory. */
export function numbersOf(tensor: Tensor): Float32Array {
  return tensor.data as Float32Array;
}

function optionsOf(provider: string, threads: number): InferenceSession.SessionOptions {
  return {
    executionProviders: [provider],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    enableMemPattern: false, // lengths vary
    logSeverityLevel: 3, // errors only
    extra: { session: { set_denormal_as_zero: "1", force_spinning_stop: "1" } },
  };
}

/** Throw unless a graph has the tensors that the manifest lists, as far as it knows their sizes before it runs. */
function checkTensors(
  found: readonly InferenceSession.ValueMetadata[],
  listed: readonly TensorSpec[],
  label: string,
): void {
  const names = (tensors: readonly { name: string }[]): string => tensors.map((tensor) => tensor.name).join(", ");
  if (names(found) !== names(listed)) {
    throw new BundleError(`the ${label} has ${names(found)} where the manifest lists ${names(listed)}`);
  }
  found.forEach((tensor, i) => {
    const type = tensor.isTensor ? tensor.type : "no tensor";
    if (!tensor.isTensor || type !== "float32") {
      throw new BundleError(`${tensor.name} of the ${label} is ${type}, where a tensor of float32 is needed`);
    }
    const shape = listed[i]!.shape;
    const known = (size: number | string | undefined): size is number => typeof size === "number" && size >= 0;
    const fits = (size: number | string, axis: number): boolean =>
      !known(size) || !known(shape[axis]) || size === shape[axis];
    // A graph that knows nothing of a shape has no axes either.
    if (tensor.shape.length > 0 && (tensor.shape.length !== shape.length || !tensor.shape.every(fits))) {
      const shapes = `[${tensor.shape.join(", ")}] where the manifest lists [${shape.join(", ")}]`;
      throw new BundleError(`${tensor.name} of the ${label} has the shape ${shapes}`);
    }
  });
}
