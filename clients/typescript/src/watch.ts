// Watches that go on after a break.
import { Code } from "@connectrpc/connect";
import { describeError, mayPass } from "./errors.js";

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 5000;

/**
 * Opens a stream again and again, from the revision of its last message.
 *
 * It ends with the signal, or throws what a further attempt can't mend. A revision that is gone begins again with 0.
 */
export async function* goingOn<M>(
  open: (afterRevision: bigint, signal: AbortSignal) => AsyncIterable<M>,
  revisionOf: (message: M) => bigint,
  signal: AbortSignal,
): AsyncGenerator<M> {
  let after = 0n;
  let wait = FIRST_WAIT_MS;
  while (!signal.aborted) {
    const stream = new AbortController();
    const stop = () => stream.abort();
    signal.addEventListener("abort", stop);
    try {
      for await (const message of open(after, stream.signal)) {
        after = revisionOf(message);
        wait = FIRST_WAIT_MS;
        yield message;
      }
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      const told = describeError(error);
      if (told.code === Code.OutOfRange) {
        after = 0n;
      } else if (!mayPass(error)) {
        throw error;
      }
      wait = Math.max(wait, told.retryAfterMs);
    } finally {
      signal.removeEventListener("abort", stop);
      stream.abort(); // who leaves the loop leaves the stream
    }
    await rest(wait, signal);
    wait = Math.min(2 * wait, LONGEST_WAIT_MS);
  }
}

function rest(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
  });
}
