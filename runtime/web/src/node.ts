/** The package for Node: bundles are folders or addresses, and onnxruntime-node runs them. */

import { readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { readBundle, type Bundle, type Files } from "./bundle.js";
import { BundleError, ProviderError, firstLine } from "./errors.js";
import type { Platform } from "./onnx-runtime.js";
import { FetchedFiles } from "./fetched-files.js";

export * from "./api.js";

/** The folder of the bundles that are installed with this package. */
const SHIPPED = new URL("../bundles/", import.meta.url);

/** The variable that keeps ONNX Runtime from sending what it was used for. */
export const NO_TELEMETRY = "ORT_DISABLE_TELEMETRY";

/** A bundle's folder. */
class FolderFiles implements Files {
  constructor(private readonly folder: string) {}

  label(path = ""): string {
    return join(this.folder, path);
  }

  async read(path: string, mostBytes: number): Promise<Uint8Array> {
    const label = this.label(path);
    try {
      const found = await stat(label);
      if (!found.isFile()) throw new BundleError(`${label} is not a file`);
      if (found.size > mostBytes) {
        throw new BundleError(`${label} has ${found.size} bytes; at most ${mostBytes} are read`);
      }
      return await readFile(label);
    } catch (error) {
      if (error instanceof BundleError) throw error;
      throw new BundleError(`${label} cannot be read: ${firstLine(error)}`, { cause: error });
    }
  }

  async missing(paths: readonly string[]): Promise<string[]> {
    const areThere = await Promise.all(paths.map((path) => isFile(this.label(path))));
    return paths.filter((_, i) => !areThere[i]);
  }
}

async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ?? false;
}

/** Return ONNX Runtime for Node; throws ProviderError where it is not installed or does not start. */
async function platform(): Promise<Platform> {
  process.env[NO_TELEMETRY] ??= "1";
  try {
    const ort = await import("onnxruntime-node");
    return { ort, provider: "cpu", providers: ["cpu"], useThreads: (asked) => asked };
  } catch (error) {
    const how = "npm install onnxruntime-node, 1.22 or newer";
    throw new ProviderError(`ONNX Runtime does not start: ${firstLine(error)}; ${how}`, { cause: error });
  }
}

/** Return the names of the bundles that are installed with this package. */
export async function shipped(): Promise<string[]> {
  return (await readdir(SHIPPED).catch(() => [])).sort();
}

/**
 * Load a bundle: its manifest is checked, and that every file it names exists. The content of a file is verified
 * when it is read.
 *
 * @param where the name of a bundle that is installed with this package, or the folder or the address of any bundle.
 * @throws BundleError where the bundle is missing, incomplete, invalid or too new.
 */
export async function loadBundle(where: string | URL): Promise<Bundle> {
  const address = String(where);
  if (/^https?:/.test(address)) return readBundle(new FetchedFiles(address), await platform());
  const names = await shipped();
  const place = names.includes(address) ? new URL(address, SHIPPED).href : address;
  const folder = place.startsWith("file:") ? fileURLToPath(place) : place;
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
    throw new BundleError(`no bundle '${folder}': neither a folder nor installed (${names.join(", ") || "none"})`);
  }
  return readBundle(new FolderFiles(folder), await platform());
}
