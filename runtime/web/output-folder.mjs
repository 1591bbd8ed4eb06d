/** Where a build writes to. */

import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

/**
 * Make a folder, empty; the result of an earlier build makes place, anything else does not.
 *
 * @param mark a file that only builds write.
 * @returns its absolute path.
 */
export function outputFolder(folder, mark) {
  const isOther = existsSync(folder) && readdirSync(folder).length > 0 && !existsSync(join(folder, mark));
  if (isOther) throw new Error(`${folder} has other files: choose a new or empty folder`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return resolve(folder);
}
