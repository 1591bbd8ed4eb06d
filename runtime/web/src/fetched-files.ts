/** Files of a bundle that are fetched from an address. */

import type { Files } from "./bundle.js";
import { BundleError, firstLine } from "./errors.js";

/** The files below an address. */
export class FetchedFiles implements Files {
  private readonly folder: string;

  /** @param address of the folder, with or without a `/` at its end. */
  constructor(address: string) {
    this.folder = address.endsWith("/") ? address : `${address}/`;
  }

  label(path = ""): string {
    return this.folder + path;
  }

  async read(path: string, mostBytes: number): Promise<Uint8Array> {
    const label = this.label(path);
    let content: ArrayBuffer;
    try {
      const address = this.folder + path.split("/").map(encodeURIComponent).join("/");
      const response = await fetch(address, { cache: "no-cache" }); // kept files may be of a bundle before this one
      if (!response.ok) throw new BundleError(`${label} cannot be read: the server answers ${response.status}`);
      const bytes = Number(response.headers.get("content-length") ?? 0);
      if (bytes > mostBytes) throw new BundleError(`${label} has ${bytes} bytes; at most ${mostBytes} are read`);
      content = await response.arrayBuffer();
    } catch (error) {
      if (error instanceof BundleError) throw error;
      throw new BundleError(`${label} cannot be read: ${firstLine(error)}`, { cause: error });
    }
    if (content.byteLength <= mostBytes) return new Uint8Array(content);
    throw new BundleError(`${label} has ${content.byteLength} bytes; at most ${mostBytes} are read`);
  }

  /** Only reading tells. */
  async missing(): Promise<string[]> {
    return [];
  }
}
