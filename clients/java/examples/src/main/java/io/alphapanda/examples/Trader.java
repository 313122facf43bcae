package io.alphapanda.examples;

import com.google.gson.Gson;
import io.alphapanda.client.AlphaPanda;
import io.alphapanda.client.Exact;
import io.alphapanda.client.Refusal;
import io.alphapanda.client.RequestIds;
import io.alphapanda.common.v1.OrderStatus;
import io.alphapanda.common.v1.Side;
import io.alphapanda.marketdata.v1.WatchQuotesRequest;
import io.alphapanda.portfolio.v1.GetPortfolioRequest;
import io.alphapanda.portfolio.v1.ListPositionsRequest;
import io.alphapanda.trading.v1.Order;
import io.alphapanda.trading.v1.PlaceOrderRequest;
import io.alphapanda.trading.v1.SquareOffRequest;
import io.alphapanda.trading.v1.WatchOrdersRequest;
import io.grpc.Context;
import io.grpc.StatusRuntimeException;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * Shows what the client does: {@code trader TARGET [SYMBOL]}. It prints one JSON line for each step, as
 * ../README.md says.
 */
public final class Trader {
  private static final long QUANTITY = 10;
  private static final long PATIENCE_S =
      Long.parseLong(System.getenv().getOrDefault("ALPHAPANDA_PATIENCE_SECONDS", "60"));

  private final AlphaPanda client;
  private final String symbol;

  private Trader(AlphaPanda client, String symbol) {
    this.client = client;
    this.symbol = symbol;
  }

  /** Trades. */
  public static void main(String[] arguments) {
    if (arguments.length < 1 || arguments.length > 2) {
      System.err.println("trader TARGET [SYMBOL]; ALPHAPANDA_CA and ALPHAPANDA_TOKEN_FILE are read");
      System.exit(2);
    }
    String symbol = arguments.length == 2 ? arguments[1] : "NSE:INFY";
    ScheduledExecutorService timers = Executors.newSingleThreadScheduledExecutor();
    try (var client = AlphaPanda.to(arguments[0]).fromEnvironment().connect();
        var limited = Context.current().withDeadlineAfter(PATIENCE_S, TimeUnit.SECONDS, timers)) {
      client.ready(Duration.ofSeconds(PATIENCE_S));
      limited.run(() -> new Trader(client, symbol).trade());
    } catch (StatusRuntimeException refused) {
      System.err.println(Refusal.of(refused).orElseThrow());
      System.exit(1);
    } catch (IllegalArgumentException | IllegalStateException | InterruptedException failed) {
      System.err.println(failed.getMessage());
      System.exit(1);
    } finally {
      timers.shutdownNow();
    }
  }

  private void trade() {
    showBooks();
    showQuotes();
    buyAndSell();
  }

  private void showBooks() {
    var books =
        client
            .portfolio()
            .getPortfolio(GetPortfolioRequest.newBuilder().setBroker("paper").build());
    var held =
        client
            .portfolio()
            .listPositions(ListPositionsRequest.newBuilder().setBroker("paper").build());
    String cash = twoDecimals(Exact.rupees(books.getPortfolio().getCash()));
    say("step", "books", "cash", cash, "positions", held.getPositionsCount());
  }

  private void showQuotes() {
    int seen = 0;
    var request = WatchQuotesRequest.newBuilder().addSymbols(symbol).build();
    try (var watch = client.watchQuotes(request)) {
      while (seen < 3 && watch.hasNext()) {
        for (var quote : watch.next().getQuotesList()) {
          seen++;
          String price = twoDecimals(Exact.decimal(quote.getLastPrice()));
          say("step", "quote", "symbol", symbol, "price", price);
        }
      }
    }
    if (seen < 3) {
      throw new IllegalStateException("fewer than 3 quotes of %s in time".formatted(symbol));
    }
  }

  private void buyAndSell() {
    var command =
        PlaceOrderRequest.newBuilder()
            .setRequestId(RequestIds.next())
            .setBroker("paper")
            .setSymbol(symbol)
            .setSide(Side.SIDE_BUY)
            .setQuantity(QUANTITY)
            .build();
    String first = client.trading().placeOrder(command).getOrder().getState().getOrderId();
    String second = client.trading().placeOrder(command).getOrder().getState().getOrderId();
    say("step", "order", "order_id", first, "same", first.equals(second));
    waitUntilFilled(first);
    var squared =
        client
            .trading()
            .squareOff(
                SquareOffRequest.newBuilder()
                    .setBroker("paper")
                    .setStrategyId("manual")
                    .setSymbol(symbol)
                    .setReason("the trader example ends")
                    .build());
    say("step", "square-off", "positions", squared.getPlanCount());
  }

  private void waitUntilFilled(String id) {
    var request =
        WatchOrdersRequest.newBuilder().setBroker("paper").setStrategyId("manual").build();
    try (var watch = client.watchOrders(request)) {
      while (watch.hasNext()) {
        for (var order : watch.next().getOrdersList()) {
          if (order.getState().getOrderId().equals(id) && hasFilled(order)) {
            say("step", "filled", "order_id", id, "quantity", QUANTITY);
            return;
          }
        }
      }
    }
    throw new IllegalStateException("order %s didn't end in %d s".formatted(id, PATIENCE_S));
  }

  /** Whether an order has filled; one that ended otherwise is told of and throws. */
  private static boolean hasFilled(Order order) {
    String id = order.getState().getOrderId();
    OrderStatus status = order.getState().getStatus();
    switch (status) {
      case ORDER_STATUS_CANCELLED, ORDER_STATUS_REJECTED, ORDER_STATUS_FAILED -> {
        String reason = order.getFailureReason().name();
        say(
            "step",
            "failed",
            "order_id",
            id,
            "status",
            status.name(),
            "reason",
            reason,
            "message",
            order.getMessage());
        throw new IllegalStateException(
            "order %s wasn't filled: %s".formatted(id, order.getMessage()));
      }
      default -> {
        return status == OrderStatus.ORDER_STATUS_FILLED;
      }
    }
  }

  private static String twoDecimals(BigDecimal amount) {
    return amount.setScale(2, RoundingMode.HALF_EVEN).toPlainString();
  }

  private static void say(Object... pairs) {
    Map<String, Object> line = new LinkedHashMap<>();
    for (int at = 0; at < pairs.length; at += 2) {
      line.put((String) pairs[at], pairs[at + 1]);
    }
    System.out.println(new Gson().toJson(line));
  }
}
