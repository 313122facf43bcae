// Shows what the client does: trader TARGET. It prints one JSON line for each step, as ../README.md says.
import { Side } from "@alphapanda/contract/panda/common/v1/common_pb.js";
import { AlphaPanda, exact, newRequestId, rupees, toFixed } from "./index.js";
import { optionsOfEnvironment } from "./environment.js";

const SYMBOL = "NSE:INFY";
const QUANTITY = 10n;
const PATIENCE_MS = 60_000;

const target = process.argv[2];
if (target === undefined || process.argv.length > 3) {
  console.error("trader TARGET; ALPHAPANDA_CA and ALPHAPANDA_TOKEN_FILE are read");
  process.exit(2);
}
const client = new AlphaPanda(target, optionsOfEnvironment());
const patience = AbortSignal.timeout(PATIENCE_MS);
await showBooks();
await showQuotes();
await buyAndSell();
process.exit(0);

async function showBooks(): Promise<void> {
  const books = await client.portfolio.getPortfolio({ broker: "paper" });
  const held = await client.portfolio.listPositions({ broker: "paper" });
  say({ step: "books", cash: toFixed(rupees(books.portfolio?.cash), 2), positions: held.positions.length });
}

async function showQuotes(): Promise<void> {
  let seen = 0;
  for await (const message of client.watchQuotes({ symbols: [SYMBOL] }, patience)) {
    for (const quote of message.quotes) {
      seen++;
      say({ step: "quote", symbol: SYMBOL, price: toFixed(exact(quote.lastPrice), 2) });
    }
    if (seen >= 3) {
      return;
    }
  }
  throw new Error(`fewer than 3 quotes of ${SYMBOL} in ${PATIENCE_MS / 1000} s`);
}

async function buyAndSell(): Promise<void> {
  const command = { requestId: newRequestId(), broker: "paper", symbol: SYMBOL, side: Side.BUY, quantity: QUANTITY };
  const first = await client.trading.placeOrder(command);
  const second = await client.trading.placeOrder(command);
  const id = first.order?.state?.orderId;
  say({ step: "order", order_id: id, same: id !== undefined && id === second.order?.state?.orderId });
  await filled(id);
  const squared = await client.trading.squareOff({
    broker: "paper",
    strategyId: "manual",
    symbol: SYMBOL,
    reason: "the trader example ends",
  });
  say({ step: "square-off", positions: squared.plan.length });
}

async function filled(id: string | undefined): Promise<void> {
  for await (const message of client.watchOrders({ broker: "paper", strategyId: "manual" }, patience)) {
    if (message.orders.some(({ state }) => state?.orderId === id && state?.filledQuantity === QUANTITY)) {
      say({ step: "filled", order_id: id, quantity: Number(QUANTITY) });
      return;
    }
  }
  throw new Error(`order ${id} didn't fill in ${PATIENCE_MS / 1000} s`);
}

function say(line: Record<string, unknown>): void {
  console.log(JSON.stringify(line));
}
