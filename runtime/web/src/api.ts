/** What the packages for browsers and for Node have in common. */

export { Bundle } from "./bundle.js";
export type { OpenOptions } from "./engine.js";
export { AudioError, BundleError, OptionError, ProviderError, TisdissError } from "./errors.js";
export type { Estimated } from "./estimate.js";
export type * from "./manifest.js";
export type { Plan, Step } from "./plan.js";
export type { PlanOptions } from "./planner.js";
export { Separator, type SeparateOptions, type Separation } from "./separator.js";
export { Stream, type Latency } from "./stream.js";
