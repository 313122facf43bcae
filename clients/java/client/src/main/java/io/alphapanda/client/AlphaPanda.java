package io.alphapanda.client;

import io.alphapanda.auth.v1.AuthServiceGrpc;
import io.alphapanda.auth.v1.BrokerSessionServiceGrpc;
import io.alphapanda.instruments.v1.InstrumentServiceGrpc;
import io.alphapanda.marketdata.v1.MarketDataServiceGrpc;
import io.alphapanda.marketdata.v1.WatchQuotesRequest;
import io.alphapanda.marketdata.v1.WatchQuotesResponse;
import io.alphapanda.ops.v1.OpsServiceGrpc;
import io.alphapanda.portfolio.v1.PortfolioServiceGrpc;
import io.alphapanda.portfolio.v1.WatchPortfolioRequest;
import io.alphapanda.portfolio.v1.WatchPortfolioResponse;
import io.alphapanda.risk.v1.RiskServiceGrpc;
import io.alphapanda.strategy.v1.StrategyServiceGrpc;
import io.alphapanda.trading.v1.TradingServiceGrpc;
import io.alphapanda.trading.v1.WatchOrdersRequest;
import io.alphapanda.trading.v1.WatchOrdersResponse;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * A client of Alpha Panda: the platform's services over one connection.
 *
 * <p>Each call has the contract's deadline where it has none of its own, is repeated as the
 * contract allows, and carries a request id where it is a command and has none. What is refused
 * throws {@link io.grpc.StatusRuntimeException}, which {@link Refusal#of} reads.
 */
public final class AlphaPanda implements AutoCloseable {
  private static final Duration LAST_CALLS = Duration.ofSeconds(5);

  private final ManagedChannel connection;
  private final Channel channel;

  AlphaPanda(ManagedChannel connection) {
    this.connection = connection;
    this.channel = ClientInterceptors.intercept(connection, new Preparing());
  }

  /**
   * A client of a target such as {@code 127.0.0.1:50051} on this machine, in plain text. It
   * connects when first used.
   *
   * @throws IllegalArgumentException if the target is another machine
   */
  public static AlphaPanda connect(String target) {
    return to(target).connect();
  }

  /** A connection with TLS or a token, to be described. */
  public static Connection to(String target) {
    return new Connection(target);
  }

  /**
   * Connects and returns once a first attempt has ended, so that no call's deadline is spent on it.
   * An attempt that failed is no error here: the first call tells why.
   *
   * @param limit to wait at most so long
   * @throws InterruptedException if the thread is interrupted meanwhile
   */
  public void ready(Duration limit) throws InterruptedException {
    long end = System.nanoTime() + limit.toNanos();
    for (var state = connection.getState(true);
        state == ConnectivityState.IDLE || state == ConnectivityState.CONNECTING;
        state = connection.getState(true)) {
      var changed = new CountDownLatch(1);
      connection.notifyWhenStateChanged(state, changed::countDown);
      if (!changed.await(end - System.nanoTime(), TimeUnit.NANOSECONDS)) {
        return;
      }
    }
  }

  /**
   * What other stubs of the contract are made on; deadlines, retries and request ids come with it.
   */
  public Channel channel() {
    return channel;
  }

  /** Users, sessions and tokens. */
  public AuthServiceGrpc.AuthServiceBlockingStub auth() {
    return AuthServiceGrpc.newBlockingStub(channel);
  }

  /** Sessions at brokers. */
  public BrokerSessionServiceGrpc.BrokerSessionServiceBlockingStub brokerSessions() {
    return BrokerSessionServiceGrpc.newBlockingStub(channel);
  }

  /** Instruments. */
  public InstrumentServiceGrpc.InstrumentServiceBlockingStub instruments() {
    return InstrumentServiceGrpc.newBlockingStub(channel);
  }

  /** Quotes and candles. */
  public MarketDataServiceGrpc.MarketDataServiceBlockingStub marketData() {
    return MarketDataServiceGrpc.newBlockingStub(channel);
  }

  /** The platform's operation. */
  public OpsServiceGrpc.OpsServiceBlockingStub ops() {
    return OpsServiceGrpc.newBlockingStub(channel);
  }

  /** Cash, positions and fills. */
  public PortfolioServiceGrpc.PortfolioServiceBlockingStub portfolio() {
    return PortfolioServiceGrpc.newBlockingStub(channel);
  }

  /** Limits and kill switches. */
  public RiskServiceGrpc.RiskServiceBlockingStub risk() {
    return RiskServiceGrpc.newBlockingStub(channel);
  }

  /** Strategies. */
  public StrategyServiceGrpc.StrategyServiceBlockingStub strategies() {
    return StrategyServiceGrpc.newBlockingStub(channel);
  }

  /** Orders. */
  public TradingServiceGrpc.TradingServiceBlockingStub trading() {
    return TradingServiceGrpc.newBlockingStub(channel);
  }

  /**
   * Orders as they change, from the last revision after a break, so that each change is seen once.
   */
  public Watch<WatchOrdersResponse> watchOrders(WatchOrdersRequest request) {
    return new Watch<>(
        after -> trading().watchOrders(request.toBuilder().setAfterRevision(after).build()),
        WatchOrdersResponse::getRevision,
        request.getAfterRevision());
  }

  /** A portfolio as it changes, from the last revision after a break. */
  public Watch<WatchPortfolioResponse> watchPortfolio(WatchPortfolioRequest request) {
    return new Watch<>(
        after -> portfolio().watchPortfolio(request.toBuilder().setAfterRevision(after).build()),
        WatchPortfolioResponse::getRevision,
        request.getAfterRevision());
  }

  /**
   * Quotes as they change; after a break it begins again with a snapshot, as quotes have no
   * revision.
   */
  public Watch<WatchQuotesResponse> watchQuotes(WatchQuotesRequest request) {
    return new Watch<>(after -> marketData().watchQuotes(request), message -> 0L, 0L);
  }

  /** Lets running calls end for a few seconds, then closes the connection. */
  @Override
  public void close() {
    connection.shutdown();
    try {
      connection.awaitTermination(LAST_CALLS.toMillis(), TimeUnit.MILLISECONDS);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    } finally {
      connection.shutdownNow();
    }
  }
}
