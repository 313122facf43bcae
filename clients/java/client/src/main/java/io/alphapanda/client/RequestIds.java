package io.alphapanda.client;

import java.util.UUID;

/** Ids of commands. */
public final class RequestIds {
  private RequestIds() {}

  /** The id of a new command. Send a command again with its first id and it has one effect. */
  public static String next() {
    return UUID.randomUUID().toString();
  }
}
