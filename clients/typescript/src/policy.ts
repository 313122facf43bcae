// The contract's options of each RPC: its deadline, and whether a client may repeat it.
import { randomUUID } from "node:crypto";
import { getOption, hasOption, type DescMethod, type DescService } from "@bufbuild/protobuf";
import { method as methodPolicy, Retry } from "@alphapanda/contract/panda/options/v1/options_pb.js";
import { createClient, type CallOptions, type Client, type Transport } from "@connectrpc/connect";
import { describeError, mayPass } from "./errors.js";

const MOST_ATTEMPTS = 4;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 1000;

/** Makes the id of a new command. Send a command again with its first id and it has one effect. */
export function newRequestId(): string {
  return randomUUID();
}

/** Milliseconds that a call may take where the caller sets none. */
export function defaultDeadlineMs(rpc: DescMethod): number | undefined {
  return hasOption(rpc, methodPolicy) ? getOption(rpc, methodPolicy).defaultDeadlineMs || undefined : undefined;
}

/** Whether the contract lets a client repeat a call. */
export function mayBeRepeated(rpc: DescMethod): boolean {
  return hasOption(rpc, methodPolicy) && getOption(rpc, methodPolicy).retry !== Retry.UNSPECIFIED;
}

type Unary = (request: Record<string, unknown>, options?: CallOptions) => Promise<unknown>;

/** A service's client whose unary calls have deadlines, retries and request ids as the contract says. */
export function policyClient<S extends DescService>(service: S, transport: Transport): Client<S> {
  const plain = createClient(service, transport) as Record<string, Unary>;
  const calls: Record<string, unknown> = {};
  for (const rpc of service.methods) {
    const call = plain[rpc.localName];
    if (call !== undefined) {
      calls[rpc.localName] = rpc.methodKind === "unary" ? withPolicy(rpc, call) : call;
    }
  }
  return calls as Client<S>;
}

/** A unary call as the contract wants it made. */
export function withPolicy(rpc: DescMethod, call: Unary): Unary {
  const named = rpc.input.fields.some((field) => field.name === "request_id");
  return async (request, options = {}) => {
    const command = named && !request["requestId"] ? { ...request, requestId: newRequestId() } : request;
    const limit = options.timeoutMs ?? defaultDeadlineMs(rpc);
    const deadline = limit === undefined ? Infinity : performance.now() + limit;
    for (let attempt = 1; ; attempt++) {
      const left = deadline === Infinity ? {} : { timeoutMs: Math.max(1, Math.floor(deadline - performance.now())) };
      try {
        return await call(command, { ...options, ...left });
      } catch (error) {
        const told = describeError(error);
        const passes = mayPass(error) && options.signal?.aborted !== true;
        const wait = Math.max(told.retryAfterMs, Math.min(FIRST_WAIT_MS * 2 ** (attempt - 1), LONGEST_WAIT_MS));
        if (!passes || !mayBeRepeated(rpc) || attempt >= MOST_ATTEMPTS || performance.now() + wait >= deadline) {
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  };
}
