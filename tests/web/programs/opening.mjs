/**
 * Opens bundles one after the other: `node opening.mjs FOLDER...` prints as JSON for each the name of the error, its
 * message, and the seconds that it took; null for one that opens.
 */
import { Separator, loadBundle } from "tisdiss-rt";

const found = [];
for (const folder of process.argv.slice(2)) {
  const beginMs = performance.now();
  try {
    await (await Separator.open(await loadBundle(folder))).close();
    found.push(null);
  } catch (error) {
    found.push([error.name, error.message, (performance.now() - beginMs) / 1e3]);
  }
}
console.log(JSON.stringify(found));
