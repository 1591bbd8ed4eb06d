/** What a page under test has in its window: the package for browsers, and the runs of the conformance programs. */
import * as ort from "onnxruntime-web/wasm";
import { Separator, loadBundle } from "tisdiss-rt";

import { runOf } from "./runs.mjs";

ort.env.wasm.wasmPaths = "/ort/";
Object.assign(globalThis, { Separator, loadBundle, runOf });
