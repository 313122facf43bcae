package io.alphapanda.client;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import java.util.concurrent.TimeUnit;

/**
 * Gives a call the contract's deadline and a command its request id. It stands above gRPC's
 * retries, so that these repeat the same id.
 */
final class Preparing implements ClientInterceptor {
  @Override
  public <Q, A> ClientCall<Q, A> interceptCall(
      MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
    return new SimpleForwardingClientCall<>(next.newCall(method, limited(method, options))) {
      @Override
      public void sendMessage(Q request) {
        super.sendMessage(named(request));
      }
    };
  }

  private static CallOptions limited(MethodDescriptor<?, ?> method, CallOptions options) {
    boolean hasDeadline = options.getDeadline() != null || Context.current().getDeadline() != null;
    if (hasDeadline || method.getType() != MethodType.UNARY) {
      return options; // a watch lasts until its caller ends it
    }
    return Policies.of(method)
        .map(
            policy ->
                options.withDeadlineAfter(policy.getDefaultDeadlineMs(), TimeUnit.MILLISECONDS))
        .orElse(options);
  }

  /** The request, with a new id where it has a {@code request_id} that is empty. */
  @SuppressWarnings("unchecked") // a builder makes what its message is
  static <Q> Q named(Q request) {
    if (!(request instanceof Message message)) {
      return request;
    }
    FieldDescriptor field = message.getDescriptorForType().findFieldByName("request_id");
    if (field == null
        || field.getType() != FieldDescriptor.Type.STRING
        || !message.getField(field).equals("")) {
      return request;
    }
    return (Q) message.toBuilder().setField(field, RequestIds.next()).build();
  }
}
