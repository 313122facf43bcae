package io.alphapanda.client;

import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/** How to connect. */
public final class Connection {
  private static final int LARGEST_ANSWER = 16 << 20;

  private final String target;
  private Path ca;
  private Path certificate;
  private Path key;
  private boolean tls;
  private CallCredentials token;

  Connection(String target) {
    this.target = target;
  }

  /** TLS with what Java trusts. */
  public Connection withTls() {
    tls = true;
    return this;
  }

  /** TLS with the certificates of a PEM file. */
  public Connection withCa(Path file) {
    ca = file;
    return withTls();
  }

  /** Shows a certificate, of two PEM files, where the server asks for one (mTLS). */
  public Connection withCertificate(Path certificateFile, Path keyFile) {
    certificate = certificateFile;
    key = keyFile;
    return withTls();
  }

  /** Sends an access token with each call. */
  public Connection withToken(String text) {
    token = new Token(() -> text);
    return this;
  }

  /**
   * Sends the token that a file holds at the time of the call, so that who renews the file renews
   * the token.
   */
  public Connection withTokenFile(Path file) {
    token = new Token(() -> Files.readString(file).strip());
    return this;
  }

  /**
   * What {@code ALPHAPANDA_CA}, {@code ALPHAPANDA_CERT}, {@code ALPHAPANDA_CERT_KEY} and {@code
   * ALPHAPANDA_TOKEN_FILE} name, where they name something.
   */
  public Connection fromEnvironment() {
    String authority = System.getenv().getOrDefault("ALPHAPANDA_CA", "");
    if (!authority.isEmpty()) {
      withCa(Path.of(authority));
    }
    String own = System.getenv().getOrDefault("ALPHAPANDA_CERT", "");
    if (!own.isEmpty()) {
      withCertificate(
          Path.of(own), Path.of(System.getenv().getOrDefault("ALPHAPANDA_CERT_KEY", "")));
    }
    String file = System.getenv().getOrDefault("ALPHAPANDA_TOKEN_FILE", "");
    return file.isEmpty() ? this : withTokenFile(Path.of(file));
  }

  /**
   * The client, which connects when first used.
   *
   * @throws IllegalArgumentException if the target is another machine and no TLS was asked for, or
   *     the file of certificates can't be read
   */
  public AlphaPanda connect() {
    var builder =
        Grpc.newChannelBuilder(target, transport())
            .defaultServiceConfig(Policies.serviceConfig())
            .disableServiceConfigLookUp()
            .enableRetry()
            .keepAliveTime(30, TimeUnit.SECONDS)
            .keepAliveTimeout(10, TimeUnit.SECONDS)
            .maxInboundMessageSize(LARGEST_ANSWER);
    if (token != null) {
      builder.intercept(new Token.Sending(token));
    }
    return new AlphaPanda(builder.build());
  }

  private ChannelCredentials transport() {
    if (!tls) {
      if (!onThisMachine(target)) {
        throw new IllegalArgumentException(
            target + " is another machine: use TLS (withCa or withTls)");
      }
      return InsecureChannelCredentials.create();
    }
    Path read = ca;
    try {
      var builder = TlsChannelCredentials.newBuilder();
      if (ca != null) {
        builder.trustManager(ca.toFile());
      }
      if (certificate != null) {
        read = certificate;
        builder.keyManager(certificate.toFile(), key.toFile());
      }
      return builder.build();
    } catch (IOException unreadable) {
      throw new IllegalArgumentException(read + " can't be read", unreadable);
    }
  }

  static boolean onThisMachine(String target) {
    String host = target.substring(0, Math.max(0, target.lastIndexOf(':')));
    return host.equals("localhost") || host.equals("[::1]") || host.matches("127(\\.\\d{1,3}){3}");
  }
}
