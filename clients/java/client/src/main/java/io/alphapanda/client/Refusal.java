package io.alphapanda.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * A refusal or failure as the platform told it.
 *
 * @param code gRPC's code
 * @param message what happened, for people
 * @param reason such as {@code VALIDATION}; empty where none was told. The ops page of the project
 *     lists them
 * @param about what it was about
 * @param fields fields of the request that break a rule, each with what is allowed
 * @param retryAfter wait at least so long before the next attempt; zero where none was told
 */
public record Refusal(
    Status.Code code,
    String message,
    String reason,
    Map<String, String> about,
    Map<String, String> fields,
    Duration retryAfter) {

  /** What an error of a call tells; empty where it isn't one of gRPC's. */
  public static Optional<Refusal> of(Throwable error) {
    if (!(error instanceof StatusRuntimeException) && !(error instanceof StatusException)) {
      return Optional.empty();
    }
    Status status = Status.fromThrowable(error);
    String reason = "";
    Map<String, String> about = Map.of();
    Map<String, String> fields = new LinkedHashMap<>();
    Duration wait = Duration.ZERO;
    com.google.rpc.Status told = StatusProto.fromThrowable(error);
    try {
      for (Any detail : told.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          reason = info.getReason();
          about = info.getMetadataMap();
        } else if (detail.is(BadRequest.class)) {
          for (var broken : detail.unpack(BadRequest.class).getFieldViolationsList()) {
            fields.put(broken.getField(), broken.getDescription());
          }
        } else if (detail.is(RetryInfo.class)) {
          var delay = detail.unpack(RetryInfo.class).getRetryDelay();
          wait = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        }
      }
    } catch (InvalidProtocolBufferException garbled) {
      throw new IllegalArgumentException("the error's details can't be read", garbled);
    }
    String message = Optional.ofNullable(status.getDescription()).orElse("");
    return Optional.of(new Refusal(status.getCode(), message, reason, about, fields, wait));
  }

  @Override
  public String toString() {
    return reason.isEmpty()
        ? "%s: %s".formatted(code, message)
        : "%s (%s): %s".formatted(code, reason, message);
  }
}
