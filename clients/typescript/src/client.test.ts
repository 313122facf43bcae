import assert from "node:assert/strict";
import { createServer, type AddressInfo } from "node:net";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "@alphapanda/contract/google/rpc/error_details_pb.js";
import { MoneySchema } from "@alphapanda/contract/panda/common/v1/common_pb.js";
import { TradingService } from "@alphapanda/contract/panda/trading/v1/trading_pb.js";
import { Code, ConnectError } from "@connectrpc/connect";
import { AlphaPanda, defaultDeadlineMs, describeError, exact, mayBeRepeated, rupees, sum, toFixed } from "./index.js";
import { withPolicy } from "./policy.js";
import { goingOn } from "./watch.js";

const placeOrder = TradingService.method.placeOrder;

test("plain text stays on this machine", () => {
  assert.throws(() => new AlphaPanda("192.0.2.1:50051"), /another machine/);
  for (const target of ["127.0.0.1:50051", "localhost:1", "[::1]:50051"]) {
    assert.ok(new AlphaPanda(target));
  }
});

test("a first attempt to connect is waited for, and the call tells how it ended", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const client = new AlphaPanda(`127.0.0.1:${port}`);
  await client.ready();
  await assert.rejects(client.trading.getOrder({ orderId: "any" }), { code: Code.Unavailable });
});

test("deadlines and retries are the contract's", () => {
  assert.ok((defaultDeadlineMs(placeOrder) ?? 0) > 0);
  assert.ok(TradingService.methods.every(mayBeRepeated));
});

test("a command has one request id, repeated while the platform is away", async () => {
  const seen: unknown[] = [];
  const call = withPolicy(placeOrder, async (request, options) => {
    seen.push(request["requestId"]);
    assert.ok(Number.isInteger(options?.timeoutMs), "gRPC's time-outs are whole milliseconds");
    if (seen.length < 3) {
      throw new ConnectError("restarting", Code.Unavailable);
    }
    return "done";
  });
  assert.equal(await call({ symbol: "NSE:INFY" }), "done");
  assert.match(String(seen[0]), /^[0-9a-f-]{36}$/);
  assert.deepEqual(new Set(seen).size, 1);
});

test("a connection that breaks is a break, unless the caller broke it", async () => {
  for (const code of [Code.Canceled, Code.Aborted]) {
    let attempts = 0;
    const call = withPolicy(placeOrder, async () => {
      attempts++;
      throw new ConnectError("http/2 stream closed", code);
    });
    await assert.rejects(call({}));
    assert.equal(attempts, 4);
    await assert.rejects(call({}, { signal: AbortSignal.abort() }));
    assert.equal(attempts, 5);
  }
  const breaks = [Code.Canceled, Code.Aborted, Code.PermissionDenied];
  const open = async function* (): AsyncGenerator<{ revision: bigint }> {
    throw new ConnectError("ended", breaks.shift());
  };
  const watching = goingOn(open, (one) => one.revision, AbortSignal.timeout(30_000)).next();
  await assert.rejects(watching, { code: Code.PermissionDenied });
  assert.deepEqual(breaks, []);
});

test("what the caller got wrong isn't repeated", async () => {
  let calls = 0;
  const call = withPolicy(placeOrder, async () => {
    calls++;
    throw new ConnectError("no", Code.InvalidArgument);
  });
  await assert.rejects(call({ requestId: "mine" }));
  assert.equal(calls, 1);
});

test("an error tells reason, fields and wait", () => {
  const told = describeError(
    new ConnectError("too many", Code.ResourceExhausted, undefined, [
      { desc: ErrorInfoSchema, value: { reason: "OVERLOADED", domain: "alphapanda" } },
      { desc: BadRequestSchema, value: { fieldViolations: [{ field: "quantity", description: "> 0" }] } },
      { desc: RetryInfoSchema, value: { retryDelay: { seconds: 2n, nanos: 500_000_000 } } },
    ]),
  );
  assert.equal(told.reason, "OVERLOADED");
  assert.deepEqual(told.fields, { quantity: "> 0" });
  assert.equal(told.retryAfterMs, 2500);
});

test("money is exact, and absent is unknown", () => {
  const tenth = rupees(create(MoneySchema, { currencyCode: "INR", amount: { value: "0.10" } }));
  assert.equal(toFixed(sum(tenth, tenth, tenth), 2), "0.30");
  assert.equal(toFixed(exact("-1234.565"), 2), "-1234.57");
  assert.equal(toFixed(exact("1E+3"), 0), "1000");
  assert.throws(() => rupees(undefined), /isn't known/);
  assert.throws(() => rupees(create(MoneySchema, { currencyCode: "USD", amount: { value: "1" } })), /USD/);
  assert.throws(() => exact("ten"), /no decimal/);
});

test("a watch goes on from its revision", async () => {
  type Message = { revision: bigint };
  const streams: [Message[], ConnectError | undefined][] = [
    [[{ revision: 4n }], new ConnectError("restarting", Code.Unavailable)],
    [[], new ConnectError("the revision is gone", Code.OutOfRange)],
    [[{ revision: 9n }], undefined],
    [[], new ConnectError("not yours", Code.PermissionDenied)],
  ];
  const asked: bigint[] = [];
  async function* open(after: bigint): AsyncGenerator<Message> {
    asked.push(after);
    const [messages, error] = streams.shift() ?? [[], undefined];
    yield* messages;
    if (error !== undefined) {
      throw error;
    }
  }
  const seen: bigint[] = [];
  const watching = async () => {
    for await (const message of goingOn(open, (one) => one.revision, AbortSignal.timeout(30_000))) {
      seen.push(message.revision);
    }
  };
  await assert.rejects(watching, /not yours/);
  assert.deepEqual(seen, [4n, 9n]);
  assert.deepEqual(asked, [0n, 4n, 0n, 9n]);
});
