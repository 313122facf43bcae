// Exact decimals: a number of JavaScript would round them, so they are units of a power of ten.
import type { Money } from "@alphapanda/contract/panda/common/v1/common_pb.js";
import type { Decimal } from "@alphapanda/contract/google/type/decimal_pb.js";

/** An exact decimal number: units × 10^-scale. */
export interface Exact {
  units: bigint;
  scale: number;
}

/** Reads a decimal of the contract; an absent one is an error, because absent means unknown, not 0. */
export function exact(value: Decimal | string | undefined): Exact {
  const text = typeof value === "string" ? value : value?.value;
  if (text === undefined) {
    throw new RangeError("the value is absent: it isn't known");
  }
  const found = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(text);
  const digits = (found?.[2] ?? "") + (found?.[3] ?? "");
  if (found === null || digits === "") {
    throw new RangeError(`${JSON.stringify(text)} is no decimal number`);
  }
  const units = BigInt(digits) * (found[1] === "-" ? -1n : 1n);
  const scale = (found[3] ?? "").length - Number(found[4] ?? 0);
  return scale < 0 ? { units: units * 10n ** BigInt(-scale), scale: 0 } : { units, scale };
}

/** Reads an amount in rupees. */
export function rupees(amount: Money | undefined): Exact {
  if (amount !== undefined && amount.currencyCode !== "INR") {
    throw new RangeError(`the amount is in ${amount.currencyCode}, not in rupees`);
  }
  return exact(amount?.amount);
}

/** The sum of exact decimals. */
export function sum(...values: Exact[]): Exact {
  const scale = Math.max(0, ...values.map((value) => value.scale));
  return { units: values.reduce((total, value) => total + scaled(value, scale), 0n), scale };
}

/** Whether two exact decimals have one value. */
export function sameValue(one: Exact, other: Exact): boolean {
  const scale = Math.max(one.scale, other.scale);
  return scaled(one, scale) === scaled(other, scale);
}

/** The number with so many decimals, rounded half away from zero. */
export function toFixed(value: Exact, decimals: number): string {
  let units = value.units < 0n ? -value.units : value.units;
  if (value.scale > decimals) {
    const step = 10n ** BigInt(value.scale - decimals);
    units = (units + step / 2n) / step;
  } else {
    units *= 10n ** BigInt(decimals - value.scale);
  }
  const text = units.toString().padStart(decimals + 1, "0");
  const whole = text.slice(0, text.length - decimals);
  const sign = value.units < 0n && units !== 0n ? "-" : "";
  return decimals === 0 ? `${sign}${whole}` : `${sign}${whole}.${text.slice(text.length - decimals)}`;
}

function scaled(value: Exact, scale: number): bigint {
  return value.units * 10n ** BigInt(scale - value.scale);
}
