package io.alphapanda.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.alphapanda.trading.v1.WatchOrdersResponse;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(20)
class WatchTest {
  /** A stream that gives revisions, then ends: with an error, or well where it is null. */
  private static Iterator<WatchOrdersResponse> stream(Status error, long... revisions) {
    var left = new ArrayList<Long>();
    for (long revision : revisions) {
      left.add(revision);
    }
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        if (left.isEmpty() && error != null) {
          throw error.asRuntimeException();
        }
        return !left.isEmpty();
      }

      @Override
      public WatchOrdersResponse next() {
        return WatchOrdersResponse.newBuilder().setRevision(left.remove(0)).build();
      }
    };
  }

  @Test
  void aWatchGoesOnFromItsRevisionUntilNothingCanBeMended() {
    var streams =
        List.of(
                stream(Status.UNAVAILABLE, 4),
                stream(Status.OUT_OF_RANGE),
                stream(null, 9),
                stream(Status.PERMISSION_DENIED))
            .iterator();
    var asked = new ArrayList<Long>();
    var watch =
        new Watch<>(
            after -> {
              asked.add(after);
              return streams.next();
            },
            WatchOrdersResponse::getRevision,
            0);
    assertEquals(4, watch.next().getRevision());
    assertEquals(9, watch.next().getRevision());
    assertThrows(StatusRuntimeException.class, watch::hasNext);
    assertEquals(List.of(0L, 4L, 0L, 9L), asked);
    assertFalse(watch.hasNext());
  }

  @Test
  void aWatchThatIsClosedEndsWhileItWaits() throws Exception {
    var watch =
        new Watch<>(after -> stream(Status.UNAVAILABLE), WatchOrdersResponse::getRevision, 0);
    var executor = Executors.newSingleThreadExecutor();
    try {
      var reading = executor.submit(watch::hasNext);
      watch.close();
      assertFalse(reading.get(2, TimeUnit.SECONDS));
    } finally {
      executor.shutdownNow();
    }
  }

  @Test
  void aWatchEndsWithTheDeadlineItWasMadeIn() throws Exception {
    var timers = Executors.newSingleThreadScheduledExecutor();
    try (var limited = Context.current().withDeadlineAfter(200, TimeUnit.MILLISECONDS, timers)) {
      assertFalse(
          limited.call(
              () -> {
                try (var watch =
                    new Watch<>(
                        after -> stream(Status.UNAVAILABLE), WatchOrdersResponse::getRevision, 0)) {
                  return watch.hasNext();
                }
              }));
    } finally {
      timers.shutdownNow();
    }
  }
}
