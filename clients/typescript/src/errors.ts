// What a refusal or failure tells.
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "@alphapanda/contract/google/rpc/error_details_pb.js";
import { Code, ConnectError } from "@connectrpc/connect";

/** A refusal or failure as the platform told it. */
export interface PlatformError {
  code: Code;
  message: string;
  /** Such as "VALIDATION"; empty where none was told. */
  reason: string;
  /** What it was about. */
  metadata: Record<string, string>;
  /** Fields of the request that break a rule, each with what is allowed. */
  fields: Record<string, string>;
  /** Wait at least so long before the next attempt; 0 where none was named. */
  retryAfterMs: number;
}

/** Reads the error of a call. */
export function describeError(error: unknown): PlatformError {
  const failed = ConnectError.from(error);
  const info = failed.findDetails(ErrorInfoSchema)[0];
  const delay = failed.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const violations = failed.findDetails(BadRequestSchema).flatMap((request) => request.fieldViolations);
  return {
    code: failed.code,
    message: failed.rawMessage,
    reason: info?.reason ?? "",
    metadata: { ...info?.metadata },
    fields: Object.fromEntries(violations.map((broken) => [broken.field, broken.description])),
    retryAfterMs: delay === undefined ? 0 : Number(delay.seconds) * 1000 + delay.nanos / 1e6,
  };
}

/**
 * Whether a further attempt may go through: the platform says so, or the connection broke.
 *
 * Node tells a connection that broke as a stream that was cancelled or aborted, by nobody; ask whether you did it first.
 */
export function mayPass(error: unknown): boolean {
  const failed = ConnectError.from(error);
  if ([Code.Unavailable, Code.ResourceExhausted, Code.Canceled, Code.Aborted].includes(failed.code)) {
    return true;
  }
  const { cause } = failed;
  return cause instanceof Error && "code" in cause && String(cause.code).startsWith("ERR_HTTP2_");
}
