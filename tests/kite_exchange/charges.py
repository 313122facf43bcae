"""What an order costs, at the rates of 2026. Own figures: what the platform computes is compared with them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from tests.kite_exchange.listed import Listed

_SEBI: Final = Decimal("0.000001")
_GST: Final = Decimal("0.18")
_TWENTY: Final = Decimal(20)


@dataclass(frozen=True, slots=True)
class _Rates:
    """Fractions of turnover: tax on purchases and on sales, exchange, its investor fund, stamp duty, brokerage."""

    tax_buy: Decimal
    tax_sell: Decimal
    exchange: Decimal
    fund: Decimal
    stamp: Decimal
    brokerage: Decimal


def _rates(*texts: str) -> _Rates:
    return _Rates(*(Decimal(text) for text in texts))


_DELIVERY: Final = _rates("0.001", "0.001", "0.000030699", "0.000000001", "0.00015", "0")
_INTRADAY: Final = _rates("0", "0.00025", "0.000030699", "0.000000001", "0.00003", "0.0003")
_FUTURES: Final = _rates("0", "0.0005", "0.000018299", "0.000000001", "0.00002", "0.0003")
_OPTIONS: Final = _rates("0", "0.0015", "0.000355299", "0.000000001", "0.00003", "20")
_COMMODITY: Final = _rates("0", "0.0001", "0.000021", "0", "0.00002", "0.0003")
_CURRENCY: Final = _rates("0", "0", "0.0000035", "0", "0.000001", "0.0003")
_BSE: Final = {"cash": Decimal("0.0000375"), "FUT": Decimal(0), "options": Decimal("0.000325")}


@dataclass(frozen=True, slots=True)
class Charges:
    """The charges of one order, rupees."""

    tax: Decimal
    tax_type: str
    exchange: Decimal
    sebi: Decimal
    brokerage: Decimal
    stamp: Decimal
    gst: Decimal

    @property
    def total(self) -> Decimal:
        """All of them."""
        return self.tax + self.exchange + self.sebi + self.brokerage + self.stamp + self.gst

    def row(self) -> dict[str, Any]:
        """As the API tells it."""
        return {
            "transaction_tax": self.tax,
            "transaction_tax_type": self.tax_type,
            "exchange_turnover_charge": self.exchange,
            "sebi_turnover_charge": self.sebi,
            "brokerage": self.brokerage,
            "stamp_duty": self.stamp,
            "gst": {"igst": self.gst, "cgst": 0, "sgst": 0, "total": self.gst},
            "total": self.total,
        }


def charges_of(listed: Listed, product: str, side: str, quantity: int, price: Decimal) -> Charges:
    """The charges of an order. The investor fund's share isn't taxed; stamp duty is in whole rupees."""
    rates = _rates_of(listed, product)
    turnover = quantity * price
    sebi = turnover * _SEBI
    exchange = turnover * _exchange_rate(listed, rates)
    flat = rates.brokerage == _TWENTY
    brokerage = (_TWENTY if quantity else Decimal(0)) if flat else min(turnover * rates.brokerage, _TWENTY)
    buys = side == "BUY"
    return Charges(
        tax=turnover * (rates.tax_buy if buys else rates.tax_sell),
        tax_type="ctt" if rates is _COMMODITY else "stt",
        exchange=exchange + turnover * rates.fund,
        sebi=sebi,
        brokerage=brokerage,
        stamp=(turnover * rates.stamp).quantize(Decimal(1), ROUND_HALF_UP) if buys else Decimal(0),
        gst=_GST * (brokerage + exchange + sebi),
    )


def _rates_of(listed: Listed, product: str) -> _Rates:
    if listed.exchange in {"MCX", "NCO"}:
        return _COMMODITY
    if listed.exchange in {"CDS", "BCD"}:
        return _CURRENCY
    if listed.instrument_type == "FUT":
        return _FUTURES
    if listed.instrument_type in {"CE", "PE"}:
        return _OPTIONS
    return _INTRADAY if product == "MIS" else _DELIVERY


def _exchange_rate(listed: Listed, rates: _Rates) -> Decimal:
    if listed.exchange not in {"BSE", "BFO"}:
        return rates.exchange
    if listed.exchange == "BSE":
        return _BSE["cash"]
    return _BSE["FUT" if rates is _FUTURES else "options"]
