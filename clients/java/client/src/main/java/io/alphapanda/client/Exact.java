package io.alphapanda.client;

import com.google.type.Decimal;
import io.alphapanda.common.v1.Money;
import java.math.BigDecimal;

/**
 * Exact values of the contract. An absent field reads as an empty message: it isn't known, and is
 * never taken for 0.
 */
public final class Exact {
  private Exact() {}

  /**
   * An exact decimal.
   *
   * @throws IllegalArgumentException if it is absent or isn't a number
   */
  public static BigDecimal decimal(Decimal value) {
    if (value.getValue().isEmpty()) {
      throw new IllegalArgumentException("the value is absent: it isn't known");
    }
    return new BigDecimal(value.getValue());
  }

  /**
   * An amount in rupees.
   *
   * @throws IllegalArgumentException if it is absent or in another currency
   */
  public static BigDecimal rupees(Money amount) {
    if (!amount.hasAmount()) {
      throw new IllegalArgumentException("the amount is absent: it isn't known");
    }
    if (!amount.getCurrencyCode().equals("INR")) {
      throw new IllegalArgumentException(
          "the amount is in " + amount.getCurrencyCode() + ", not in rupees");
    }
    return decimal(amount.getAmount());
  }
}
