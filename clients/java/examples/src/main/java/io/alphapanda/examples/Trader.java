package io.alphapanda.examples;

import com.google.gson.Gson;
import io.alphapanda.client.AlphaPanda;
import io.alphapanda.client.Exact;
import io.alphapanda.client.Refusal;
import io.alphapanda.client.RequestIds;
import io.alphapanda.common.v1.Side;
import io.alphapanda.marketdata.v1.WatchQuotesRequest;
import io.alphapanda.portfolio.v1.GetPortfolioRequest;
import io.alphapanda.portfolio.v1.ListPositionsRequest;
import io.alphapanda.trading.v1.PlaceOrderRequest;
import io.alphapanda.trading.v1.SquareOffRequest;
import io.alphapanda.trading.v1.WatchOrdersRequest;
import io.grpc.Context;
import io.grpc.StatusRuntimeException;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * Shows what the client does: {@code trader TARGET}. It prints one JSON line for each step, as
 * ../README.md says.
 */
public final class Trader {
  private static final String SYMBOL = "NSE:INFY";
  private static final long QUANTITY = 10;
  private static final long PATIENCE_S = 60;

  private final AlphaPanda client;

  private Trader(AlphaPanda client) {
    this.client = client;
  }

  /** Trades. */
  public static void main(String[] arguments) {
    if (arguments.length != 1) {
      System.err.println("trader TARGET; ALPHAPANDA_CA and ALPHAPANDA_TOKEN_FILE are read");
      System.exit(2);
    }
    ScheduledExecutorService timers = Executors.newSingleThreadScheduledExecutor();
    try (var client = AlphaPanda.to(arguments[0]).fromEnvironment().connect();
        var limited = Context.current().withDeadlineAfter(PATIENCE_S, TimeUnit.SECONDS, timers)) {
      limited.run(() -> new Trader(client).trade());
    } catch (StatusRuntimeException refused) {
      System.err.println(Refusal.of(refused).orElseThrow());
      System.exit(1);
    } catch (IllegalArgumentException | IllegalStateException failed) {
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
    var request = WatchQuotesRequest.newBuilder().addSymbols(SYMBOL).build();
    try (var watch = client.watchQuotes(request)) {
      while (seen < 3 && watch.hasNext()) {
        for (var quote : watch.next().getQuotesList()) {
          seen++;
          String price = twoDecimals(Exact.decimal(quote.getLastPrice()));
          say("step", "quote", "symbol", SYMBOL, "price", price);
        }
      }
    }
    if (seen < 3) {
      throw new IllegalStateException("fewer than 3 quotes of %s in time".formatted(SYMBOL));
    }
  }

  private void buyAndSell() {
    var command =
        PlaceOrderRequest.newBuilder()
            .setRequestId(RequestIds.next())
            .setBroker("paper")
            .setSymbol(SYMBOL)
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
                    .setSymbol(SYMBOL)
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
          var state = order.getState();
          if (state.getOrderId().equals(id) && state.getFilledQuantity() == QUANTITY) {
            say("step", "filled", "order_id", id, "quantity", QUANTITY);
            return;
          }
        }
      }
    }
    throw new IllegalStateException("order %s didn't fill in time".formatted(id));
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
