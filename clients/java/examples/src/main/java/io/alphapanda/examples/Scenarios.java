package io.alphapanda.examples;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import io.alphapanda.client.AlphaPanda;
import io.alphapanda.client.Policies;
import io.alphapanda.client.Refusal;
import io.alphapanda.client.RequestIds;
import io.grpc.CallOptions;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.io.IOException;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Replays ../../scenarios.json against a platform: {@code scenarios TARGET FILE}. It prints a line
 * for each scenario and exits with 1 where one fails.
 */
public final class Scenarios {
  /** What must be true of an answer. */
  private record Fact(String path, String equals, String decimal, Integer atLeast, String saveAs) {}

  /** What must be true after a step. */
  private record Expected(String code, String reason, String field, List<Fact> facts) {}

  /** A request and what must be true of its answer. */
  private record Step(String rpc, JsonObject request, Expected expect) {}

  /** Steps in their order. */
  private record Scenario(String name, List<Step> steps) {}

  /** The file. */
  private record All(List<Scenario> scenarios) {}

  /** A step that didn't go as expected. */
  private static final class Unexpected extends Exception {
    private static final long serialVersionUID = 1L;

    Unexpected(String message, Object... values) {
      super(message.formatted(values));
    }
  }

  private final AlphaPanda client;
  private final Map<String, String> known = new HashMap<>();

  private Scenarios(AlphaPanda client) {
    this.client = client;
    known.put("run", RequestIds.next().substring(0, 8));
  }

  /** Replays. */
  public static void main(String[] arguments) {
    if (arguments.length != 2) {
      System.err.println("scenarios TARGET FILE");
      System.exit(2);
    }
    int failed = 0;
    try (var client = AlphaPanda.to(arguments[0]).fromEnvironment().connect()) {
      client.ready(Duration.ofSeconds(20));
      String text = Files.readString(Path.of(arguments[1]));
      for (Scenario scenario : new Gson().fromJson(text, All.class).scenarios()) {
        String outcome = new Scenarios(client).replay(scenario.steps());
        System.out.printf("%s: %s%n", scenario.name(), outcome);
        failed += outcome.equals("passed") ? 0 : 1;
      }
    } catch (IOException
        | JsonParseException
        | IllegalArgumentException
        | InterruptedException unusable) {
      System.err.println(unusable.getMessage());
      System.exit(2);
    }
    System.exit(failed > 0 ? 1 : 0);
  }

  private String replay(List<Step> steps) {
    for (int at = 0; at < steps.size(); at++) {
      try {
        take(steps.get(at));
      } catch (Unexpected | InvalidProtocolBufferException failure) {
        return "FAILED at step %d: %s".formatted(at + 1, failure.getMessage());
      }
    }
    return "passed";
  }

  private void take(Step step) throws Unexpected, InvalidProtocolBufferException {
    MethodDescriptor<?, ?> method =
        Policies.methods().stream()
            .filter(known -> known.getFullMethodName().equals(step.rpc()))
            .findFirst()
            .orElseThrow(() -> new Unexpected("the contract has no %s", step.rpc()));
    Message answer;
    try {
      answer = call(method, filled(step.request().toString()));
    } catch (StatusRuntimeException refused) {
      checkRefusal(step.expect(), Refusal.of(refused).orElseThrow());
      return;
    }
    if (!step.expect().code().equals("OK")) {
      throw new Unexpected("answered, where %s was expected", step.expect().code());
    }
    JsonElement told = JsonParser.parseString(JsonFormat.printer().print(answer));
    for (Fact fact : step.expect().facts() == null ? List.<Fact>of() : step.expect().facts()) {
      check(fact, at(told, fact.path()));
    }
  }

  @SuppressWarnings("unchecked") // every message of the contract is a Message
  private Message call(MethodDescriptor<?, ?> method, String json)
      throws InvalidProtocolBufferException {
    var typed = (MethodDescriptor<Message, Message>) method;
    var prototypes = (MethodDescriptor.PrototypeMarshaller<Message>) typed.getRequestMarshaller();
    Message.Builder request = prototypes.getMessagePrototype().newBuilderForType();
    JsonFormat.parser().merge(json, request);
    // Scenarios are about answers, not about how soon they come.
    var patient = CallOptions.DEFAULT.withDeadlineAfter(1, TimeUnit.MINUTES);
    return ClientCalls.blockingUnaryCall(client.channel(), typed, patient, request.build());
  }

  private static void checkRefusal(Expected expected, Refusal told) throws Unexpected {
    if (!told.code().name().equals(expected.code())) {
      throw new Unexpected("expected %s, was told %s", expected.code(), told);
    }
    if (expected.reason() != null && !told.reason().equals(expected.reason())) {
      throw new Unexpected("expected the reason %s, was told %s", expected.reason(), told.reason());
    }
    if (expected.field() != null && !told.fields().containsKey(expected.field())) {
      throw new Unexpected(
          "expected the field %s, was told of %s", expected.field(), told.fields());
    }
  }

  private void check(Fact fact, JsonElement value) throws Unexpected {
    if (fact.atLeast() != null) {
      int items = value instanceof JsonArray list ? list.size() : 0;
      if (items < fact.atLeast()) {
        throw new Unexpected(
            "%s has %d items, expected at least %d", fact.path(), items, fact.atLeast());
      }
    }
    String text = value != null && value.isJsonPrimitive() ? value.getAsString() : null;
    if (fact.equals() != null && !filled(fact.equals()).equals(text)) {
      throw new Unexpected("%s is %s, expected %s", fact.path(), value, filled(fact.equals()));
    }
    if (fact.decimal() != null && !sameNumber(text, fact.decimal())) {
      throw new Unexpected("%s is %s, expected %s", fact.path(), value, fact.decimal());
    }
    if (fact.saveAs() != null) {
      if (text == null || text.isEmpty()) {
        throw new Unexpected("%s is %s, expected a text", fact.path(), value);
      }
      known.put(fact.saveAs(), text);
    }
  }

  private static boolean sameNumber(String text, String wanted) {
    try {
      return text != null && new BigDecimal(text).compareTo(new BigDecimal(wanted)) == 0;
    } catch (NumberFormatException otherwise) {
      return false;
    }
  }

  /** The value of a path such as {@code order.intents.0.tag}; null where there is none. */
  private static JsonElement at(JsonElement value, String path) {
    JsonElement here = value;
    for (String part : path.split("\\.")) {
      if (here instanceof JsonObject fields) {
        here = fields.get(part);
      } else if (here instanceof JsonArray items && part.matches("\\d{1,9}")) {
        int index = Integer.parseInt(part);
        here = index < items.size() ? items.get(index) : null;
      } else {
        return null;
      }
    }
    return here;
  }

  private String filled(String text) {
    String result = text;
    for (var entry : known.entrySet()) {
      result = result.replace("${" + entry.getKey() + "}", entry.getValue());
    }
    return result;
  }
}
