export { AlphaPanda, type Options } from "./client.js";
export { exact, rupees, sameValue, sum, toFixed, type Exact } from "./decimals.js";
export { describeError, type PlatformError } from "./errors.js";
export { defaultDeadlineMs, mayBeRepeated, newRequestId, policyClient } from "./policy.js";
