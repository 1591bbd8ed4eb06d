/**
 * Refuses graphs that keep data in other files: ONNX Runtime would read any file that they name.
 *
 * Of the protocol buffers of ONNX (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3), only the way to every
 * tensor is followed, as in `tisdiss_rt/external_data.py`.
 */

import { BundleError, firstLine } from "./errors.js";

/** For each message the fields that are, or hold, tensors. */
export const FIELDS: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  ModelProto: { 7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto" },
  GraphProto: { 1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto" },
  TrainingInfoProto: { 1: "GraphProto", 2: "GraphProto" },
  FunctionProto: { 7: "NodeProto", 11: "AttributeProto" },
  NodeProto: { 5: "AttributeProto" },
  AttributeProto: {
    5: "TensorProto",
    6: "GraphProto",
    10: "TensorProto",
    11: "GraphProto",
    22: "SparseTensorProto",
    23: "SparseTensorProto",
  },
  SparseTensorProto: { 1: "TensorProto", 2: "TensorProto" },
  TensorProto: {},
};
export const EXTERNAL_DATA = 13; // fields of TensorProto
export const DATA_LOCATION = 14;
export const MOST_NESTED = 100;

/** Throw a BundleError if a tensor of an ONNX file is kept elsewhere, or if that cannot be told. */
export function refuseExternalData(graph: Uint8Array, label: string): void {
  let isExternal: boolean;
  try {
    isExternal = hasExternalData(graph, "ModelProto", 0);
  } catch (error) {
    throw new BundleError(`${label} is not an ONNX file: ${firstLine(error)}`, { cause: error });
  }
  if (isExternal) {
    throw new BundleError(`${label} keeps data in other files, which is refused: export it into one file`);
  }
}

function hasExternalData(message: Uint8Array, kind: string, level: number): boolean {
  if (level > MOST_NESTED) throw new RangeError("too deeply nested");
  for (const [field, value] of fields(message)) {
    const isElsewhere = field === EXTERNAL_DATA || (field === DATA_LOCATION && value !== 0);
    if (kind === "TensorProto" && isElsewhere) return true;
    const inner = FIELDS[kind]![field];
    if (inner === undefined) continue;
    if (typeof value === "number") throw new RangeError(`field ${field} of ${kind} is no message`);
    if (hasExternalData(value, inner, level + 1)) return true;
  }
  return false;
}

/** Yield the number and the value of each field: its bytes, or a number for the other wire types. */
function* fields(message: Uint8Array): Generator<[number, number | Uint8Array]> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = message[at++];
      if (byte === undefined) throw new RangeError("cut off");
      if (shift < 64) value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError("a number too long");
  };
  while (at < message.length) {
    const tag = varint();
    if (tag >= 2 ** 32) throw new RangeError("a tag too large"); // readers differ in what they make of it
    const field = Math.floor(tag / 8);
    const wire = tag % 8;
    if (wire === 0) {
      yield [field, varint()];
      continue;
    }
    if (wire !== 1 && wire !== 2 && wire !== 5) throw new RangeError(`wire type ${wire}`);
    const size = wire === 2 ? varint() : wire === 1 ? 8 : 4;
    if (size > message.length - at) throw new RangeError("cut off");
    yield [field, wire === 2 ? message.subarray(at, at + size) : 0];
    at += size;
  }
}
