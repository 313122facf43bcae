// Replays ../scenarios.json against a platform: scenarios TARGET FILE. ../README.md says what the file means.
import { readFileSync } from "node:fs";
import { createRegistry, fromJson, toJson, type DescMethodUnary, type JsonValue } from "@bufbuild/protobuf";
import { file_panda_auth_v1_auth } from "@alphapanda/contract/panda/auth/v1/auth_pb.js";
import { file_panda_auth_v1_broker_session } from "@alphapanda/contract/panda/auth/v1/broker_session_pb.js";
import { file_panda_instruments_v1_instruments } from "@alphapanda/contract/panda/instruments/v1/instruments_pb.js";
import { file_panda_marketdata_v1_marketdata } from "@alphapanda/contract/panda/marketdata/v1/marketdata_pb.js";
import { file_panda_ops_v1_ops } from "@alphapanda/contract/panda/ops/v1/ops_pb.js";
import { file_panda_portfolio_v1_portfolio } from "@alphapanda/contract/panda/portfolio/v1/portfolio_pb.js";
import { file_panda_risk_v1_risk } from "@alphapanda/contract/panda/risk/v1/risk_pb.js";
import { file_panda_strategy_v1_strategy } from "@alphapanda/contract/panda/strategy/v1/strategy_pb.js";
import { file_panda_trading_v1_trading } from "@alphapanda/contract/panda/trading/v1/trading_pb.js";
import { Code } from "@connectrpc/connect";
import { AlphaPanda, describeError, exact, newRequestId, sameValue } from "./index.js";
import { optionsOfEnvironment } from "./environment.js";

/** A call's deadline: scenarios are about answers, not about how soon they come. */
const PATIENCE_MS = 60_000;

interface Fact {
  path: string;
  equals?: string;
  decimal?: string;
  atLeast?: number;
  saveAs?: string;
}

interface Step {
  rpc: string;
  request: JsonValue;
  expect: { code: string; reason?: string; field?: string; facts?: Fact[] };
}

const registry = createRegistry(
  file_panda_auth_v1_auth,
  file_panda_auth_v1_broker_session,
  file_panda_instruments_v1_instruments,
  file_panda_marketdata_v1_marketdata,
  file_panda_ops_v1_ops,
  file_panda_portfolio_v1_portfolio,
  file_panda_risk_v1_risk,
  file_panda_strategy_v1_strategy,
  file_panda_trading_v1_trading,
);

const [target, file] = process.argv.slice(2);
if (target === undefined || file === undefined) {
  console.error("scenarios TARGET FILE; ALPHAPANDA_CA and ALPHAPANDA_TOKEN_FILE are read");
  process.exit(2);
}
const client = new AlphaPanda(target, optionsOfEnvironment());
const all = JSON.parse(readFileSync(file, "utf8")) as { scenarios: { name: string; steps: Step[] }[] };
await client.ready();
let failed = 0;
for (const { name, steps } of all.scenarios) {
  const known = new Map([["run", newRequestId().slice(0, 8)]]);
  let outcome = "passed";
  for (const [number, step] of steps.entries()) {
    const wrong = await take(step, known);
    if (wrong !== undefined) {
      outcome = `FAILED at step ${number + 1}: ${wrong}`;
      failed++;
      break;
    }
  }
  console.log(`${name}: ${outcome}`);
}
process.exit(failed ? 1 : 0);

async function take(step: Step, known: Map<string, string>): Promise<string | undefined> {
  const [service = "", name = ""] = step.rpc.split("/");
  const rpc = registry.getService(service)?.methods.find((method) => method.name === name);
  if (rpc === undefined || rpc.methodKind !== "unary") {
    return `the contract has no unary RPC ${step.rpc}`;
  }
  const request = fromJson(rpc.input, JSON.parse(filled(JSON.stringify(step.request), known)) as JsonValue);
  let answer: JsonValue;
  try {
    const unary = rpc as DescMethodUnary;
    const told = await client.transport.unary(unary, undefined, PATIENCE_MS, undefined, request);
    answer = toJson(rpc.output, told.message);
  } catch (error) {
    return refusedAsExpected(step, error);
  }
  if (step.expect.code !== "OK") {
    return `answered, where ${step.expect.code} was expected`;
  }
  return (step.expect.facts ?? []).map((fact) => holds(fact, answer, known)).find((wrong) => wrong !== undefined);
}

function refusedAsExpected({ expect }: Step, error: unknown): string | undefined {
  const told = describeError(error);
  const code = Code[told.code].replace(/(?<!^)([A-Z])/g, "_$1").toUpperCase();
  if (code !== expect.code) {
    return `expected ${expect.code}, was told ${code}: ${told.message}`;
  }
  if (expect.reason !== undefined && told.reason !== expect.reason) {
    return `expected the reason ${expect.reason}, was told ${told.reason}`;
  }
  if (expect.field !== undefined && !(expect.field in told.fields)) {
    return `expected the field ${expect.field}, was told of ${Object.keys(told.fields).join(", ")}`;
  }
  return undefined;
}

function holds(fact: Fact, answer: JsonValue, known: Map<string, string>): string | undefined {
  const value = at(answer, fact.path);
  if (fact.atLeast !== undefined && !(Array.isArray(value) && value.length >= fact.atLeast)) {
    return `${fact.path} is ${JSON.stringify(value)}, expected at least ${fact.atLeast} items`;
  }
  if (fact.equals !== undefined && value !== filled(fact.equals, known)) {
    return `${fact.path} is ${JSON.stringify(value)}, expected ${filled(fact.equals, known)}`;
  }
  if (fact.decimal !== undefined && !(typeof value === "string" && sameValue(exact(value), exact(fact.decimal)))) {
    return `${fact.path} is ${JSON.stringify(value)}, expected ${fact.decimal}`;
  }
  if (fact.saveAs !== undefined) {
    if (typeof value !== "string" || value === "") {
      return `${fact.path} is ${JSON.stringify(value)}, expected a text`;
    }
    known.set(fact.saveAs, value);
  }
  return undefined;
}

/** The value of a path such as "order.intents.0.tag"; undefined where there is none. */
function at(value: JsonValue | undefined, path: string): JsonValue | undefined {
  return path.split(".").reduce<JsonValue | undefined>((here, part) => {
    if (Array.isArray(here)) {
      return here[Number(part)];
    }
    return here !== null && typeof here === "object" ? here[part] : undefined;
  }, value);
}

function filled(text: string, known: Map<string, string>): string {
  return [...known].reduce((done, [name, value]) => done.replaceAll(`\${${name}}`, value), text);
}
