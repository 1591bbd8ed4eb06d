/**
 * A bundle: a folder or an address with `manifest.json` and the graphs that it names, each checked when it is read.
 */

import { sha256 } from "@noble/hashes/sha2.js"; // browsers have it only on pages that came by HTTPS
import { bytesToHex } from "@noble/hashes/utils.js";

import { BundleError, firstLine } from "./errors.js";
import { refuseExternalData } from "./external-data.js";
import {
  GRAPHS,
  MANIFEST_NAME,
  MOST_FILE_BYTES,
  MOST_MANIFEST_BYTES,
  type FileRef,
  type GraphSpec,
  type Manifest,
} from "./manifest.js";
import type { Platform } from "./onnx-runtime.js";
import { filesOf, parseManifest } from "./parse-manifest.js";

/** Where the files of a bundle are. */
export interface Files {
  /** Return how an error names a file; without a name, the whole. */
  label(path?: string): string;

  /** Return the content of a file; throws BundleError where it is not there or has more bytes. */
  read(path: string, mostBytes: number): Promise<Uint8Array>;

  /** Return which of the files are not there, where that can be told without reading them. */
  missing(paths: readonly string[]): Promise<string[]>;
}

/** A bundle that was loaded by `loadBundle`: its manifest is checked, its graphs are not read yet. */
export class Bundle {
  constructor(
    readonly manifest: Manifest,
    /** What runs its graphs. */
    readonly platform: Platform,
    private readonly files: Files,
  ) {}

  /** The precisions in which the bundle carries any graph, `fp32` first. */
  get precisions(): string[] {
    const carried = new Set(GRAPHS.flatMap((name) => Object.keys(this.manifest.graphs[name].files)));
    carried.delete("fp32");
    return ["fp32", ...[...carried].sort()];
  }

  /**
   * Return the verified content of a graph in a precision; fp32 where that graph lacks it.
   *
   * Throws BundleError where the content has not the SHA-256 of the manifest, or keeps data in other files.
   */
  async readGraph(graph: GraphSpec, precision: string): Promise<Uint8Array> {
    const file = graph.files[Object.hasOwn(graph.files, precision) ? precision : "fp32"]!;
    const content = await this.read(file);
    refuseExternalData(content, file.path);
    return content;
  }

  /** Return a file's content; throws BundleError unless it has the SHA-256 of the manifest. */
  async read(file: FileRef): Promise<Uint8Array> {
    const content = await this.files.read(file.path, MOST_FILE_BYTES);
    if (bytesToHex(sha256(content)) !== file.sha256) {
      throw new BundleError(`${this.files.label(file.path)} is damaged: its SHA-256 is not the manifest's`);
    }
    return content;
  }
}

/** Load a bundle from its files. Throws BundleError where it is missing, incomplete, invalid or too new. */
export async function readBundle(files: Files, platform: Platform): Promise<Bundle> {
  const label = files.label(MANIFEST_NAME);
  const content = await files.read(MANIFEST_NAME, MOST_MANIFEST_BYTES);
  let data: unknown;
  try {
    data = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content));
  } catch (error) {
    throw new BundleError(`${label} cannot be read: ${firstLine(error)}`, { cause: error });
  }
  let manifest: Manifest;
  try {
    manifest = parseManifest(data);
  } catch (error) {
    if (error instanceof BundleError) throw new BundleError(`${label}: ${error.message}`, { cause: error });
    throw error;
  }
  const [missing] = await files.missing(filesOf(manifest).map((file) => file.path));
  if (missing !== undefined) throw new BundleError(`bundle ${files.label()} is incomplete: ${missing} is missing`);
  return new Bundle(manifest, platform, files);
}
