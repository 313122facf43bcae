// Shows what the client does: trader TARGET [SYMBOL]. It prints one JSON line for each step, as ../README.md says.
import { OrderStatus, OrderStatusSchema, Side } from "@alphapanda/contract/panda/common/v1/common_pb.js";
import { FailureReasonSchema } from "@alphapanda/contract/panda/events/v1/orders_pb.js";
import { AlphaPanda, describeError, exact, newRequestId, rupees, toFixed } from "./index.js";
import { optionsOfEnvironment } from "./environment.js";

const QUANTITY = 10n;
const PATIENCE_MS = 1000 * Number(process.env["ALPHAPANDA_PATIENCE_SECONDS"] ?? "60");
const ENDED_UNFILLED = [OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.FAILED];

const [target, symbol = "NSE:INFY"] = process.argv.slice(2);
if (target === undefined || process.argv.length > 4) {
  console.error("trader TARGET [SYMBOL]; ALPHAPANDA_CA and ALPHAPANDA_TOKEN_FILE are read");
  process.exit(2);
}
const client = new AlphaPanda(target, optionsOfEnvironment());
const options = { timeoutMs: PATIENCE_MS };
const patience = AbortSignal.timeout(PATIENCE_MS);
try {
  await client.ready();
  await showBooks();
  await showQuotes();
  await buyAndSell();
  process.exit(0);
} catch (error) {
  const { message, reason } = describeError(error);
  console.error(reason === "" ? message : `${reason}: ${message}`);
  process.exit(1);
}

async function showBooks(): Promise<void> {
  const books = await client.portfolio.getPortfolio({ broker: "paper" }, options);
  const held = await client.portfolio.listPositions({ broker: "paper" }, options);
  say({ step: "books", cash: toFixed(rupees(books.portfolio?.cash), 2), positions: held.positions.length });
}

async function showQuotes(): Promise<void> {
  let seen = 0;
  for await (const message of client.watchQuotes({ symbols: [symbol] }, patience)) {
    for (const quote of message.quotes) {
      seen++;
      say({ step: "quote", symbol, price: toFixed(exact(quote.lastPrice), 2) });
    }
    if (seen >= 3) {
      return;
    }
  }
  throw new Error(`fewer than 3 quotes of ${symbol} in ${PATIENCE_MS / 1000} s`);
}

async function buyAndSell(): Promise<void> {
  const command = { requestId: newRequestId(), broker: "paper", symbol, side: Side.BUY, quantity: QUANTITY };
  const first = await client.trading.placeOrder(command, options);
  const second = await client.trading.placeOrder(command, options);
  const id = first.order?.state?.orderId;
  say({ step: "order", order_id: id, same: id !== undefined && id === second.order?.state?.orderId });
  await untilFilled(id);
  const squared = await client.trading.squareOff(
    { broker: "paper", strategyId: "manual", symbol, reason: "the trader example ends" },
    options,
  );
  say({ step: "square-off", positions: squared.plan.length });
}

/** Watches an order to its end, which may be another one than a fill. */
async function untilFilled(id: string | undefined): Promise<void> {
  for await (const message of client.watchOrders({ broker: "paper", strategyId: "manual" }, patience)) {
    const order = message.orders.find(({ state }) => state?.orderId === id);
    const status = order?.state?.status ?? OrderStatus.UNSPECIFIED;
    if (status === OrderStatus.FILLED) {
      say({ step: "filled", order_id: id, quantity: Number(QUANTITY) });
      return;
    }
    if (order !== undefined && ENDED_UNFILLED.includes(status)) {
      say({
        step: "failed",
        order_id: id,
        status: OrderStatusSchema.value[status]?.name,
        reason: FailureReasonSchema.value[order.failureReason]?.name,
        message: order.message,
      });
      throw new Error(`order ${id} wasn't filled: ${order.message}`);
    }
  }
  throw new Error(`order ${id} didn't end in ${PATIENCE_MS / 1000} s`);
}

function say(line: Record<string, unknown>): void {
  console.log(JSON.stringify(line));
}
