package io.alphapanda.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.alphapanda.trading.v1.GetOrderRequest;
import io.alphapanda.trading.v1.Order;
import io.alphapanda.trading.v1.PlaceOrderRequest;
import io.alphapanda.trading.v1.PlaceOrderResponse;
import io.alphapanda.trading.v1.TradingServiceGrpc;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AlphaPandaTest {
  private final List<String> requestIds = new ArrayList<>();
  private final List<String> tokens = new ArrayList<>();
  private final List<Long> deadlines = new ArrayList<>();

  @ParameterizedTest
  @ValueSource(strings = {"192.0.2.1:50051", "127.example.com:1", "example.com:50051", "50051"})
  void plainTextStaysOnThisMachine(String target) {
    assertThrows(IllegalArgumentException.class, () -> AlphaPanda.connect(target));
  }

  @ParameterizedTest
  @ValueSource(strings = {"127.0.0.1:50051", "localhost:1", "[::1]:50051"})
  void thisMachineIsSpokenToInPlainText(String target) {
    AlphaPanda.connect(target).close();
  }

  @Test
  void aFileOfCertificatesThatIsNotThereIsNamed() {
    var connection = AlphaPanda.to("127.0.0.1:1").withCa(Path.of("nowhere.pem"));
    var refused = assertThrows(IllegalArgumentException.class, connection::connect);
    assertTrue(refused.getMessage().contains("nowhere.pem"), refused.getMessage());
  }

  @Test
  void aCommandIsRepeatedWithItsIdAndTheTokenOfThatMoment(@TempDir Path folder) throws Exception {
    Path file = Files.writeString(folder.resolve("token"), "first\n");
    Server server = unavailableOnce(file);
    try (var client =
        AlphaPanda.to("127.0.0.1:" + server.getPort()).withTokenFile(file).connect()) {
      var placed = client.trading().placeOrder(PlaceOrderRequest.getDefaultInstance());
      assertEquals(Order.getDefaultInstance(), placed.getOrder());
    } finally {
      server.shutdownNow();
    }
    assertEquals(2, requestIds.size());
    assertEquals(36, requestIds.get(0).length());
    assertEquals(requestIds.get(0), requestIds.get(1));
    assertEquals(List.of("Bearer first", "Bearer second"), tokens);
    long limit =
        Policies.of(TradingServiceGrpc.getPlaceOrderMethod()).orElseThrow().getDefaultDeadlineMs();
    assertTrue(deadlines.get(0) > 0 && deadlines.get(0) <= limit, deadlines.toString());
  }

  @Test
  void aFirstAttemptIsWaitedForAndTheCallTellsHowItEnded() throws Exception {
    int port;
    try (var socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = socket.getLocalPort();
    }
    try (var client = AlphaPanda.connect("127.0.0.1:" + port)) {
      client.ready(Duration.ofSeconds(20));
      var order = GetOrderRequest.getDefaultInstance();
      var told =
          assertThrows(StatusRuntimeException.class, () -> client.trading().getOrder(order));
      assertEquals(Status.Code.UNAVAILABLE, told.getStatus().getCode());
    }
  }

  @Test
  void aRequestIdOfOnesOwnIsKept() {
    var own = PlaceOrderRequest.newBuilder().setRequestId("mine").build();
    assertEquals("mine", Preparing.named(own).getRequestId());
    assertFalse(Preparing.named(PlaceOrderRequest.getDefaultInstance()).getRequestId().isEmpty());
  }

  @Test
  void everyRpcHasADeadlineAndIsRepeatedAsTheContractSays() {
    assertTrue(Policies.methods().size() > 50);
    for (var method : Policies.methods()) {
      assertTrue(Policies.of(method).orElseThrow().getDefaultDeadlineMs() > 0, method.toString());
    }
    assertTrue(Policies.serviceConfig().toString().contains("PlaceOrder"));
  }

  /** A server that answers the first order with UNAVAILABLE, and renews the token. */
  private Server unavailableOnce(Path token) throws Exception {
    var trading =
        new TradingServiceGrpc.TradingServiceImplBase() {
          @Override
          public void placeOrder(
              PlaceOrderRequest request, StreamObserver<PlaceOrderResponse> answer) {
            requestIds.add(request.getRequestId());
            deadlines.add(Context.current().getDeadline().timeRemaining(TimeUnit.MILLISECONDS));
            if (requestIds.size() == 1) {
              try {
                Files.writeString(token, "second\n");
              } catch (java.io.IOException unwritable) {
                throw new java.io.UncheckedIOException(unwritable);
              }
              answer.onError(Status.UNAVAILABLE.asRuntimeException());
              return;
            }
            answer.onNext(
                PlaceOrderResponse.newBuilder().setOrder(Order.getDefaultInstance()).build());
            answer.onCompleted();
          }
        };
    var seen =
        new ServerInterceptor() {
          @Override
          public <Q, A> ServerCall.Listener<Q> interceptCall(
              ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
            tokens.add(
                headers.get(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER)));
            return next.startCall(call, headers);
          }
        };
    return NettyServerBuilder.forAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
        .addService(trading)
        .intercept(seen)
        .build()
        .start();
  }
}
