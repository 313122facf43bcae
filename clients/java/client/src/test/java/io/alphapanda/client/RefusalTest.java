package io.alphapanda.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.rpc.BadRequest;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class RefusalTest {
  @Test
  void anErrorTellsReasonFieldsAndWait() {
    var error =
        StatusProto.toStatusRuntimeException(
            Status.newBuilder()
                .setCode(Code.RESOURCE_EXHAUSTED_VALUE)
                .setMessage("too many")
                .addDetails(
                    Any.pack(
                        ErrorInfo.newBuilder()
                            .setReason("OVERLOADED")
                            .putMetadata("lane", "urgent")
                            .build()))
                .addDetails(
                    Any.pack(
                        BadRequest.newBuilder()
                            .addFieldViolations(
                                BadRequest.FieldViolation.newBuilder()
                                    .setField("quantity")
                                    .setDescription("> 0"))
                            .build()))
                .addDetails(
                    Any.pack(
                        RetryInfo.newBuilder()
                            .setRetryDelay(
                                com.google.protobuf.Duration.newBuilder()
                                    .setSeconds(2)
                                    .setNanos(500_000_000))
                            .build()))
                .build());
    Refusal told = Refusal.of(error).orElseThrow();
    assertEquals("RESOURCE_EXHAUSTED (OVERLOADED): too many", told.toString());
    assertEquals("> 0", told.fields().get("quantity"));
    assertEquals("urgent", told.about().get("lane"));
    assertEquals(Duration.ofMillis(2500), told.retryAfter());
  }

  @Test
  void anErrorWithoutAStatusTellsNothing() {
    assertTrue(Refusal.of(new IllegalStateException("other")).isEmpty());
  }
}
