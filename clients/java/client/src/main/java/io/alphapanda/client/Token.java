package io.alphapanda.client;

import io.grpc.CallCredentials;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.io.IOException;
import java.util.concurrent.Executor;

/** An access token, asked for at each attempt of a call. */
final class Token extends CallCredentials {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final Source source;

  Token(Source source) {
    this.source = source;
  }

  @Override
  public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
    executor.execute(
        () -> {
          try {
            Metadata headers = new Metadata();
            headers.put(AUTHORIZATION, "Bearer " + source.read());
            applier.apply(headers);
          } catch (IOException | RuntimeException unreadable) {
            applier.fail(
                Status.UNAUTHENTICATED
                    .withDescription("the token can't be read: " + unreadable.getMessage())
                    .withCause(unreadable));
          }
        });
  }

  /** Where a token comes from. */
  @FunctionalInterface
  interface Source {
    String read() throws IOException;
  }

  /** Adds the token to calls that come without credentials of their own. */
  record Sending(CallCredentials token) implements ClientInterceptor {
    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(
        MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      return next.newCall(
          method, options.getCredentials() == null ? options.withCallCredentials(token) : options);
    }
  }
}
