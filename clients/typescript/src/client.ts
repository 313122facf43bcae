// A connection to the platform.
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { AuthService } from "@alphapanda/contract/panda/auth/v1/auth_pb.js";
import { BrokerSessionService } from "@alphapanda/contract/panda/auth/v1/broker_session_pb.js";
import { InstrumentService } from "@alphapanda/contract/panda/instruments/v1/instruments_pb.js";
import { MarketDataService, type WatchQuotesResponse } from "@alphapanda/contract/panda/marketdata/v1/marketdata_pb.js";
import { OpsService } from "@alphapanda/contract/panda/ops/v1/ops_pb.js";
import { PortfolioService, type WatchPortfolioResponse } from "@alphapanda/contract/panda/portfolio/v1/portfolio_pb.js";
import { RiskService } from "@alphapanda/contract/panda/risk/v1/risk_pb.js";
import { StrategyService } from "@alphapanda/contract/panda/strategy/v1/strategy_pb.js";
import { TradingService, type WatchOrdersResponse } from "@alphapanda/contract/panda/trading/v1/trading_pb.js";
import type { DescService } from "@bufbuild/protobuf";
import type { Client, Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { policyClient } from "./policy.js";
import { goingOn } from "./watch.js";

/** How to connect. */
export interface Options {
  /** An access token, sent with each call. */
  token?: string;
  /** A file that holds one at the time of the call, so that who renews the file renews the token. */
  tokenFile?: string;
  /** A PEM file with the certificates to trust; it turns TLS on. */
  ca?: string;
  /** PEM files of a certificate and its key, to show where the server asks for one (mTLS). */
  cert?: string;
  key?: string;
  /** TLS with what the system trusts. */
  tls?: boolean;
}

/** The platform's services over one connection. */
export class AlphaPanda {
  readonly transport: Transport;
  readonly #connection: Http2SessionManager;
  readonly auth: Client<typeof AuthService>;
  readonly brokerSessions: Client<typeof BrokerSessionService>;
  readonly instruments: Client<typeof InstrumentService>;
  readonly marketData: Client<typeof MarketDataService>;
  readonly ops: Client<typeof OpsService>;
  readonly portfolio: Client<typeof PortfolioService>;
  readonly risk: Client<typeof RiskService>;
  readonly strategies: Client<typeof StrategyService>;
  readonly trading: Client<typeof TradingService>;

  /**
   * Connects when first used.
   *
   * @param target such as "127.0.0.1:50051". Without TLS it must be this machine.
   */
  constructor(target: string, options: Options = {}) {
    const tls = options.tls === true || options.ca !== undefined;
    if (!tls && !onThisMachine(target)) {
      throw new Error(`${target} is another machine: use TLS (ca or tls)`);
    }
    const baseUrl = `${tls ? "https" : "http"}://${target}`;
    this.#connection = new Http2SessionManager(
      baseUrl,
      // A connection that broke without a word would let a watch wait for ever.
      { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 },
      {
        ...(options.ca === undefined ? {} : { ca: readFileSync(options.ca) }),
        ...(options.cert === undefined ? {} : { cert: readFileSync(options.cert) }),
        ...(options.key === undefined ? {} : { key: readFileSync(options.key) }),
      },
    );
    this.transport = createGrpcTransport({
      baseUrl,
      interceptors: tokenOf(options),
      sessionManager: this.#connection,
    });
    this.auth = this.service(AuthService);
    this.brokerSessions = this.service(BrokerSessionService);
    this.instruments = this.service(InstrumentService);
    this.marketData = this.service(MarketDataService);
    this.ops = this.service(OpsService);
    this.portfolio = this.service(PortfolioService);
    this.risk = this.service(RiskService);
    this.strategies = this.service(StrategyService);
    this.trading = this.service(TradingService);
  }

  /** Connects, so that no call's deadline is spent on it; the first call tells why an attempt failed. */
  async ready(): Promise<void> {
    await this.#connection.connect();
  }

  /** A client of a service of the contract. */
  service<S extends DescService>(service: S): Client<S> {
    return policyClient(service, this.transport);
  }

  /** Orders as they change, from the last revision after a break, so that each change is seen once. */
  watchOrders(
    request: { broker?: string; account?: string; strategyId?: string },
    signal: AbortSignal,
  ): AsyncGenerator<WatchOrdersResponse> {
    return goingOn(
      (afterRevision, own) => this.trading.watchOrders({ ...request, afterRevision }, { signal: own }),
      (message) => message.revision,
      signal,
    );
  }

  /** A portfolio as it changes, from the last revision after a break. */
  watchPortfolio(
    request: { broker?: string; account?: string; markIntervalMs?: number },
    signal: AbortSignal,
  ): AsyncGenerator<WatchPortfolioResponse> {
    return goingOn(
      (afterRevision, own) => this.portfolio.watchPortfolio({ ...request, afterRevision }, { signal: own }),
      (message) => message.revision,
      signal,
    );
  }

  /** Quotes as they change; after a break it begins again with a snapshot, as quotes have no revision. */
  watchQuotes(
    request: { symbols?: string[]; instrumentIds?: string[]; minIntervalMs?: number },
    signal: AbortSignal,
  ): AsyncGenerator<WatchQuotesResponse> {
    return goingOn(
      (_, own) => this.marketData.watchQuotes(request, { signal: own }),
      () => 0n,
      signal,
    );
  }
}

function tokenOf(options: Options): Interceptor[] {
  const { token, tokenFile } = options;
  if (token === undefined && tokenFile === undefined) {
    return [];
  }
  return [
    (next) => (request) => {
      const sent = token ?? readFileSync(tokenFile ?? "", "utf8").trim();
      request.header.set("authorization", `Bearer ${sent}`);
      return next(request);
    },
  ];
}

function onThisMachine(target: string): boolean {
  const host = target.slice(0, target.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
