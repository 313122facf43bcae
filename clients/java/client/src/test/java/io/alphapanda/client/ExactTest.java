package io.alphapanda.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.type.Decimal;
import io.alphapanda.common.v1.Money;
import java.math.BigDecimal;
import org.junit.jupiter.api.Test;

class ExactTest {
  private static Money money(String currency, String amount) {
    return Money.newBuilder()
        .setCurrencyCode(currency)
        .setAmount(Decimal.newBuilder().setValue(amount))
        .build();
  }

  @Test
  void moneyIsExact() {
    BigDecimal ten = Exact.rupees(money("INR", "0.10"));
    assertEquals(new BigDecimal("0.30"), ten.add(ten).add(ten));
  }

  @Test
  void whatIsAbsentIsUnknown() {
    assertThrows(IllegalArgumentException.class, () -> Exact.decimal(Decimal.getDefaultInstance()));
    assertThrows(IllegalArgumentException.class, () -> Exact.rupees(Money.getDefaultInstance()));
  }

  @Test
  void dollarsAreNotRupees() {
    assertThrows(IllegalArgumentException.class, () -> Exact.rupees(money("USD", "1")));
  }
}
