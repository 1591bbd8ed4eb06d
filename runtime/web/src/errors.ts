/**
 * The error family: whoever wants to tell what is the input's fault from everything else catches `TisdissError`.
 * Each message is one line that a user can act on.
 */

/** Anything that this package reports about its input, its options or its surroundings. */
export class TisdissError extends Error {
  override name = "TisdissError";
}

/** A bundle is missing, damaged or too new, or its network returned an unusable result. */
export class BundleError extends TisdissError {
  override name = "BundleError";
}

/** Audio that cannot be used: empty, NaN, or pushed into a stream that has ended. */
export class AudioError extends TisdissError {
  override name = "AudioError";
}

/** An option has an impossible value, or two options exclude each other. */
export class OptionError extends TisdissError {
  override name = "OptionError";
}

/** ONNX Runtime is not there, or does not start. */
export class ProviderError extends TisdissError {
  override name = "ProviderError";
}

/** Return the first line of another library's message, for a message of our own. */
export function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split("\n")[0] ?? "";
}
