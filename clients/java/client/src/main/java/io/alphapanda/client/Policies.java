package io.alphapanda.client;

import io.alphapanda.auth.v1.AuthServiceGrpc;
import io.alphapanda.auth.v1.BrokerSessionServiceGrpc;
import io.alphapanda.instruments.v1.InstrumentServiceGrpc;
import io.alphapanda.marketdata.v1.MarketDataServiceGrpc;
import io.alphapanda.ops.v1.OpsServiceGrpc;
import io.alphapanda.options.v1.MethodPolicy;
import io.alphapanda.options.v1.Options;
import io.alphapanda.options.v1.Retry;
import io.alphapanda.portfolio.v1.PortfolioServiceGrpc;
import io.alphapanda.risk.v1.RiskServiceGrpc;
import io.alphapanda.strategy.v1.StrategyServiceGrpc;
import io.alphapanda.trading.v1.TradingServiceGrpc;
import io.grpc.MethodDescriptor;
import io.grpc.ServiceDescriptor;
import io.grpc.protobuf.ProtoMethodDescriptorSupplier;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** What the contract's options say of each RPC. */
public final class Policies {
  private static final List<ServiceDescriptor> SERVICES =
      List.of(
          AuthServiceGrpc.getServiceDescriptor(),
          BrokerSessionServiceGrpc.getServiceDescriptor(),
          InstrumentServiceGrpc.getServiceDescriptor(),
          MarketDataServiceGrpc.getServiceDescriptor(),
          OpsServiceGrpc.getServiceDescriptor(),
          PortfolioServiceGrpc.getServiceDescriptor(),
          RiskServiceGrpc.getServiceDescriptor(),
          StrategyServiceGrpc.getServiceDescriptor(),
          TradingServiceGrpc.getServiceDescriptor());

  private Policies() {}

  /** Every RPC of the contract. */
  public static List<MethodDescriptor<?, ?>> methods() {
    return SERVICES.stream()
        .<MethodDescriptor<?, ?>>flatMap(service -> service.getMethods().stream())
        .toList();
  }

  /** The policy of an RPC; empty where it isn't one of the contract's. */
  public static Optional<MethodPolicy> of(MethodDescriptor<?, ?> method) {
    return method.getSchemaDescriptor() instanceof ProtoMethodDescriptorSupplier schema
        ? Optional.of(schema.getMethodDescriptor().getOptions())
            .filter(options -> options.hasExtension(Options.method))
            .map(options -> options.getExtension(Options.method))
        : Optional.empty();
  }

  /** gRPC's service config: what may be repeated, and when. */
  static Map<String, Object> serviceConfig() {
    List<Map<String, String>> repeated =
        methods().stream()
            .filter(
                method ->
                    of(method).filter(of -> of.getRetry() != Retry.RETRY_UNSPECIFIED).isPresent())
            .map(
                method ->
                    Map.of(
                        "service", method.getServiceName(), "method", method.getBareMethodName()))
            .toList();
    Map<String, Object> retries =
        Map.of(
            "maxAttempts",
            4.0,
            "initialBackoff",
            "0.1s",
            "maxBackoff",
            "1s",
            "backoffMultiplier",
            2.0,
            "retryableStatusCodes",
            List.of("UNAVAILABLE", "RESOURCE_EXHAUSTED"));
    return Map.of(
        "loadBalancingConfig", List.of(Map.of("round_robin", Map.of())),
        "methodConfig", List.of(Map.of("name", repeated, "retryPolicy", retries)));
  }
}
