/**
 * The one place that calls ONNX Runtime: its packages for browsers and for Node have the same interface.
 */

import type { InferenceSession, Tensor, TensorConstructor } from "onnxruntime-common";

import { BundleError, ProviderError, firstLine } from "./errors.js";
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
  /** Those that may be asked for by name. */
  readonly providers: readonly string[];
  /** Return how many threads to use, 0 for ONNX Runtime's own choice; called before the first graph is opened. */
  useThreads(asked: number): number;
  /**
   * Return what may be faster, where there is such a thing; throws ProviderError where it is not available.
   *
   * @param isAsked takes it also where it is not expected to be faster.
   */
  readonly accelerate?: (isAsked: boolean) => Promise<Platform>;
  /** Makes calls of graphs one after the other, each to its end, where ONNX Runtime cannot do several at once. */
  readonly inTurn?: InTurn;
  /** Whether it runs on a device that has maps of its own, and may fail where the bundle is right. */
  readonly isDevice?: boolean;
}

/** Makes a call when it may be made. */
export type InTurn = <T>(call: () => Promise<T>) => Promise<T>;

/** Return what makes each call when the one before has ended, well or not. */
export function oneByOne(): InTurn {
  let last: Promise<unknown> = Promise.resolve();
  return (call) => {
    const turn = last.then(call);
    last = turn.catch(() => {});
    return turn;
  };
}

/** Tensors by name. */
export type Tensors = Record<string, Tensor>;

/** A graph that is ready to run. */
export class Graph {
  private constructor(
    private readonly session: InferenceSession,
    private readonly platform: Platform,
    private readonly label: string,
  ) {}

  /**
   * Open a graph.
   *
   * @param stay outputs that stay on the device, where the platform has one.
   * @throws BundleError where it has other tensors than the manifest lists.
   */
  static async open(
    platform: Platform,
    content: Uint8Array,
    spec: GraphSpec,
    threads: number,
    label: string,
    stay: readonly string[] = [],
  ): Promise<Graph> {
    const options = optionsOf(platform.provider, threads);
    if (platform.isDevice) {
      const locations = spec.outputs.map(({ name }) => [name, stay.includes(name) ? "gpu-buffer" : "cpu"]);
      options.preferredOutputLocation = Object.fromEntries(locations);
    }
    const open = (): Promise<InferenceSession> => platform.ort.InferenceSession.create(content, options);
    let session: InferenceSession;
    try {
      session = await inTurn(platform, open);
    } catch (error) {
      throw failure(platform, `ONNX Runtime cannot load the ${label}`, error);
    }
    checkTensors(session.inputMetadata, spec.inputs, label);
    checkTensors(session.outputMetadata, spec.outputs, label);
    return new Graph(session, platform, label);
  }

  /** Return a tensor over numbers, which are not copied. */
  tensor(data: Float32Array, shape: readonly number[]): Tensor {
    return new this.platform.ort.Tensor("float32", data, shape);
  }

  /** Run the graph with its inputs, found by name; returns its outputs. */
  async run(tensors: Tensors): Promise<Tensors> {
    const inputs = Object.fromEntries(this.session.inputNames.map((name) => [name, tensors[name]!]));
    try {
      return (await inTurn(this.platform, () => this.session.run(inputs))) as Tensors;
    } catch (error) {
      throw failure(this.platform, `the ${this.label} failed`, error);
    }
  }

  /** Free what ONNX Runtime holds. */
  async release(): Promise<void> {
    await inTurn(this.platform, () => this.session.release());
  }
}

function inTurn<T>(platform: Platform, call: () => Promise<T>): Promise<T> {
  return platform.inTurn ? platform.inTurn(call) : call();
}

/** Return the error for what ONNX Runtime refuses: a bundle's fault, or on a device, that of the device. */
function failure({ isDevice, provider }: Platform, what: string, cause: unknown): Error {
  if (cause instanceof ProviderError) return cause;
  if (isDevice) return new ProviderError(`${what} on ${provider}: ${firstLine(cause)}`, { cause });
  return new BundleError(`${what}: ${firstLine(cause)}`, { cause });
}

/** Free tensors that are on a device; those in main memory need nothing. */
export function free(tensors: Tensors): void {
  for (const tensor of Object.values(tensors)) if (tensor.location === "gpu-buffer") tensor.dispose();
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
