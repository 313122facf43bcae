package io.alphapanda.client;

import io.grpc.Context;
import io.grpc.Context.CancellableContext;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.LongFunction;
import java.util.function.ToLongFunction;

/**
 * Messages of a stream that is opened again after a break, from the revision of its last message. A
 * revision that is gone begins again with a snapshot.
 *
 * <p>{@link #hasNext} waits for a message. It is false once the watch was closed or the deadline of
 * the {@link Context} it was made in has passed, and throws what a further attempt can't mend. One
 * thread reads; any may close.
 */
public final class Watch<M> implements Iterator<M>, AutoCloseable {
  private static final Duration FIRST_WAIT = Duration.ofMillis(100);
  private static final Duration LONGEST_WAIT = Duration.ofSeconds(5);

  private final LongFunction<Iterator<M>> open;
  private final ToLongFunction<M> revisionOf;
  private final CancellableContext context = Context.current().withCancellation();
  private final CountDownLatch ended = new CountDownLatch(1);
  private long after;
  private Duration wait = FIRST_WAIT;
  private Iterator<M> stream;
  private M next;

  Watch(LongFunction<Iterator<M>> open, ToLongFunction<M> revisionOf, long after) {
    this.open = open;
    this.revisionOf = revisionOf;
    this.after = after;
    context.addListener(of -> ended.countDown(), Runnable::run);
  }

  @Override
  public boolean hasNext() {
    while (next == null && !context.isCancelled()) {
      try {
        if (stream == null) {
          stream = context.call(() -> open.apply(after));
        }
        if (stream.hasNext()) {
          next = stream.next();
          after = revisionOf.applyAsLong(next);
          wait = FIRST_WAIT;
          return true;
        }
        rest(Duration.ZERO); // the server stops: another one goes on
      } catch (StatusRuntimeException broken) {
        mend(broken);
      } catch (RuntimeException broken) {
        throw broken;
      } catch (Exception never) {
        throw new IllegalStateException(never); // opening a stream throws nothing that is checked
      }
    }
    return next != null;
  }

  private void mend(StatusRuntimeException broken) {
    boolean over = context.getDeadline() != null && context.getDeadline().isExpired();
    if (over || context.isCancelled()) {
      close();
      return;
    }
    Refusal told = Refusal.of(broken).orElseThrow(() -> broken);
    switch (told.code()) {
      case OUT_OF_RANGE -> after = 0;
      case UNAVAILABLE, RESOURCE_EXHAUSTED -> {}
      default -> {
        close();
        throw broken;
      }
    }
    rest(told.retryAfter());
  }

  private void rest(Duration atLeast) {
    stream = null;
    Duration now = wait.compareTo(atLeast) < 0 ? atLeast : wait;
    Duration doubled = wait.multipliedBy(2);
    wait = doubled.compareTo(LONGEST_WAIT) < 0 ? doubled : LONGEST_WAIT;
    try {
      ended.await(now.toMillis(), TimeUnit.MILLISECONDS);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      close();
    }
  }

  @Override
  public M next() {
    if (!hasNext()) {
      throw new NoSuchElementException("the watch has ended");
    }
    M message = next;
    next = null;
    return message;
  }

  /** Ends the watch and its stream. */
  @Override
  public void close() {
    context.cancel(null);
  }
}
