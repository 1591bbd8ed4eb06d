/**
 * Readers that turn JSON into typed values, or say which entry is wrong. Unknown keys are errors, so that a misspelt
 * or newer entry is never silently ignored.
 */

import { BundleError } from "./errors.js";
import { MOST_INTEGER } from "./manifest.js";

/** Turns JSON into a value; `where` names the entry. Throws BundleError. */
export type Read<T> = (value: unknown, where: string) => T;

function wrong(value: unknown, where: string, wanted: string): BundleError {
  const text = typeof value === "object" && value !== null ? "an object or a list" : JSON.stringify(value);
  return new BundleError(`${where} is ${text.slice(0, 40)}, which is not ${wanted}`);
}

export const text: Read<string> = (value, where) => {
  if (typeof value === "string" && !/[\0\ud800-\udfff]/u.test(value)) return value;
  throw wrong(value, where, "a text");
};

export const integer: Read<number> = (value, where) => {
  if (typeof value === "number" && Number.isInteger(value) && 0 <= value && value <= MOST_INTEGER) return value;
  throw wrong(value, where, `a whole number from 0 to ${MOST_INTEGER}`);
};

export const number: Read<number> = (value, where) => {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw wrong(value, where, "a finite number");
};

export const truth: Read<boolean> = (value, where) => {
  if (typeof value === "boolean") return value;
  throw wrong(value, where, "true or false");
};

export const size: Read<number | string> = (value, where) => (typeof value === "string" ? text : integer)(value, where);

export function orNull<T>(read: Read<T>): Read<T | null> {
  return (value, where) => (value === null ? null : read(value, where));
}

export function list<T>(read: Read<T>): Read<T[]> {
  return (value, where) => {
    if (!Array.isArray(value)) throw wrong(value, where, "a list");
    return value.map((item, i) => read(item, `${where}[${i}]`));
  };
}

function entriesOf(value: unknown, where: string): [string, unknown][] {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return Object.entries(value);
  throw new BundleError(`${where} is not an object`);
}

export function record<T>(read: Read<T>): Read<Record<string, T>> {
  return (value, where) =>
    Object.fromEntries(entriesOf(value, where).map(([key, item]) => [text(key, where), read(item, `${where}.${key}`)]));
}

/** Reads an object that has exactly these keys, in JSON with underscores: `sampleRate` is `sample_rate`. */
export function object<T extends object>(keys: { [K in keyof T]-?: Read<T[K]> }): Read<T> {
  const known = new Map(
    Object.entries(keys).map(([key, read]) => [
      key.replace(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`),
      { key, read: read as Read<unknown> },
    ]),
  );
  return (value, where) => {
    const given = new Map(entriesOf(value, where));
    const missing = [...known.keys()].filter((name) => !given.has(name));
    const unknown = [...given.keys()].filter((name) => !known.has(name));
    if (missing.length) throw new BundleError(`${where} lacks ${missing.sort().join(", ")}`);
    if (unknown.length) {
      const names = [...known.keys()].join(", ");
      throw new BundleError(`${where} has unknown ${unknown.sort().join(", ")}; known are ${names}`);
    }
    const found = [...known].map(([name, { key, read }]) => [key, read(given.get(name), `${where}.${name}`)]);
    return Object.fromEntries(found) as T;
  };
}
