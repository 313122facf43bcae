"""An account: its positions, holdings and funds, by an arithmetic of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tests.kite_exchange.charges import charges_of
from tests.kite_exchange.listed import Listed
from tests.kite_exchange.market import Market, Quote
from tests.kite_exchange.orders import Order, Trade

CASH: Final = Decimal(1_000_000)
_ZERO: Final = Decimal(0)
_MULTIPLIER: Final = {"CDS": 1_000, "BCD": 1_000}
_INTRADAY: Final = Decimal("0.2")
_SPAN, _EXPOSURE = Decimal("0.12"), Decimal("0.03")

Key = tuple[str, str, str]
"""Exchange, tradingsymbol, product."""


@dataclass(slots=True)
class Position:
    """What an account has traded and carried of an instrument in a product."""

    listed: Listed
    product: str
    overnight_quantity: int = 0
    overnight_price: Decimal = _ZERO
    buy_quantity: int = 0
    buy_value: Decimal = _ZERO
    sell_quantity: int = 0
    sell_value: Decimal = _ZERO

    @property
    def multiplier(self) -> int:
        """Units of the underlying in a unit of quantity."""
        return _MULTIPLIER.get(self.listed.exchange, 1)

    @property
    def quantity(self) -> int:
        """Net units, negative if short."""
        return self.overnight_quantity + self.buy_quantity - self.sell_quantity

    def sides(self, *, net: bool) -> tuple[int, Decimal, int, Decimal]:
        """Units and value bought, and sold: today, and if `net` what was carried, too."""
        carried = self.overnight_quantity if net else 0
        worth = abs(carried) * self.overnight_price * self.multiplier
        return (
            self.buy_quantity + max(carried, 0),
            self.buy_value + (worth if carried > 0 else 0),
            self.sell_quantity + max(-carried, 0),
            self.sell_value + (worth if carried < 0 else 0),
        )

    @property
    def average(self) -> Decimal:
        """Average price of the side that is open, rupees; 0 when flat."""
        bought, bought_for, sold, sold_for = self.sides(net=True)
        quantity, value = (bought, bought_for) if self.quantity > 0 else (sold, sold_for)
        return value / quantity / self.multiplier if self.quantity else _ZERO

    @property
    def realised(self) -> Decimal:
        """Profit of the units that were both bought and sold."""
        bought, bought_for, sold, sold_for = self.sides(net=True)
        closed = min(bought, sold)
        return closed * (sold_for / sold - bought_for / bought) if closed else _ZERO

    def row(self, quote: Quote, *, net: bool) -> dict[str, Any]:
        """Its row in /portfolio/positions: pnl = sell_value - buy_value + quantity x last_price x multiplier."""
        bought, bought_for, sold, sold_for = self.sides(net=net)
        quantity = bought - sold
        last, close, each = quote.rupees, quote.price(quote.close), self.multiplier
        carried = self.overnight_quantity if net else 0
        buy_m2m = self.buy_value + max(carried, 0) * close * each
        sell_m2m = self.sell_value + max(-carried, 0) * close * each
        pnl = sold_for - bought_for + quantity * last * each
        buy_price, sell_price = _per(bought_for, bought, each), _per(sold_for, sold, each)
        return {
            "tradingsymbol": self.listed.tradingsymbol,
            "exchange": self.listed.exchange,
            "instrument_token": self.listed.instrument_token,
            "product": self.product,
            "quantity": quantity,
            "overnight_quantity": carried,
            "multiplier": each,
            "average_price": 0 if not quantity else (buy_price if quantity > 0 else sell_price),
            "close_price": close if carried else 0,
            "last_price": last,
            "value": sold_for - bought_for,
            "pnl": pnl,
            "m2m": sell_m2m - buy_m2m + quantity * last * each,
            "unrealised": pnl,
            "realised": 0,
            "buy_quantity": bought,
            "buy_price": buy_price,
            "buy_value": bought_for,
            "buy_m2m": buy_m2m,
            "sell_quantity": sold,
            "sell_price": sell_price,
            "sell_value": sold_for,
            "sell_m2m": sell_m2m,
            "day_buy_quantity": self.buy_quantity,
            "day_buy_price": _per(self.buy_value, self.buy_quantity, each),
            "day_buy_value": self.buy_value,
            "day_sell_quantity": self.sell_quantity,
            "day_sell_price": _per(self.sell_value, self.sell_quantity, each),
            "day_sell_value": self.sell_value,
        }


@dataclass(slots=True)
class Holding:
    """Shares in the demat account.

    Attributes:
        quantity: settled.
        t1_quantity: bought on the day before, not yet settled.
        collateral_quantity: pledged.
        unauthorised: whether a sale needs an authorisation at the depository.
        sold: sold today.
    """

    listed: Listed
    isin: str
    quantity: int
    average_price: Decimal
    t1_quantity: int = 0
    collateral_quantity: int = 0
    unauthorised: bool = False
    sold: int = 0

    @property
    def sellable(self) -> int:
        """Units that can still be sold today."""
        return self.quantity + self.t1_quantity - self.sold

    def row(self, quote: Quote) -> dict[str, Any]:
        """Its row in /portfolio/holdings."""
        last, close = quote.rupees, quote.price(quote.close)
        return {
            "tradingsymbol": self.listed.tradingsymbol,
            "exchange": self.listed.exchange,
            "instrument_token": self.listed.instrument_token,
            "isin": self.isin,
            "product": "CNC",
            "price": 0,
            "quantity": self.quantity - self.sold,
            "used_quantity": self.sold,
            "t1_quantity": self.t1_quantity,
            "realised_quantity": self.quantity - self.sold,
            "authorised_quantity": 0,
            "authorised_date": None,
            "opening_quantity": self.quantity + self.t1_quantity,
            "short_quantity": 0,
            "collateral_quantity": self.collateral_quantity,
            "collateral_type": "stock" if self.collateral_quantity else "",
            "discrepancy": False,
            "average_price": self.average_price,
            "last_price": last,
            "close_price": close,
            "pnl": (last - self.average_price) * (self.quantity - self.sold),
            "day_change": last - close,
            "day_change_percentage": round((last - close) / close * 100, 6) if close else 0,
        }


@dataclass(slots=True)
class Account:
    """The books of a user.

    Attributes:
        user_id: whose they are.
        opening: cash at the day's start, rupees.
        paid_in: cash paid in today.
        positions: by exchange, tradingsymbol, product.
        holdings: by tradingsymbol.
        fees: charges of today's trades; the broker takes them at the day's end.
    """

    user_id: str
    opening: Decimal = CASH
    paid_in: Decimal = _ZERO
    positions: dict[Key, Position] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    fees: Decimal = _ZERO

    def position(self, listed: Listed, product: str) -> Position:
        """The position, a flat one if there was none."""
        key = (listed.exchange, listed.tradingsymbol, product)
        return self.positions.setdefault(key, Position(listed, product))

    def book(self, trade: Trade) -> None:
        """Books a trade."""
        order = trade.order
        position = self.position(order.listed, order.product)
        value = trade.quantity * trade.price * position.multiplier
        if order.side == "BUY":
            position.buy_quantity += trade.quantity
            position.buy_value += value
        else:
            position.sell_quantity += trade.quantity
            position.sell_value += value
        held = self.holdings.get(order.listed.tradingsymbol)
        if order.product == "CNC" and held is not None:  # bought back on the same day, it isn't sold
            held.sold = sum(
                max(0, -one.quantity)
                for (_, symbol, product), one in self.positions.items()
                if (symbol, product) == (order.listed.tradingsymbol, "CNC")
            )
        self.fees += charges_of(order.listed, order.product, order.side, trade.quantity, trade.price).total

    def sellable(self, listed: Listed) -> int:
        """Shares that can be sold for delivery: held, and bought today."""
        held = self.holdings.get(listed.tradingsymbol)
        position = self.positions.get((listed.exchange, listed.tradingsymbol, "CNC"))
        bought = max(position.quantity, 0) if position is not None else 0
        return bought + (held.sellable if held is not None else 0)

    def required(self, order: Order, price: Decimal) -> Decimal:
        """What an order of so many units at a price needs beyond what it reduces."""
        position = self.positions.get((order.listed.exchange, order.listed.tradingsymbol, order.product))
        held = -order.sign * position.quantity if position is not None else 0
        return _sum(margin(order.listed, order.product, order.sign, max(order.left - max(held, 0), 0), price))

    def utilised(self, orders: Iterable[Order]) -> dict[str, Decimal]:
        """What is blocked: by positions, by open orders, by today's losses."""
        used = dict.fromkeys(("span", "exposure", "option_premium", "delivery"), _ZERO)
        for position in self.positions.values():
            sign = 1 if position.quantity > 0 else -1
            for name, amount in margin(
                position.listed, position.product, sign, abs(position.quantity), position.average
            ).items():
                used[name] += amount
        for order in orders:
            if order.left:
                used["delivery" if order.product == "CNC" else "span"] += self.required(order, order.price)
        used["m2m_realised"] = -sum((each.realised for each in self.positions.values()), _ZERO)
        return used

    def available(self, orders: Iterable[Order]) -> Decimal:
        """What can still be spent."""
        return self.opening + self.paid_in - _sum(self.utilised(orders))

    def roll(self, market: Market) -> None:
        """The next day begins: deliveries become holdings, the rest is carried, charges are taken."""
        self.opening += self.paid_in - self.fees
        self.paid_in = self.fees = _ZERO
        for held in self.holdings.values():
            held.quantity, held.t1_quantity, held.sold = held.quantity + held.t1_quantity - held.sold, 0, 0
        carried: dict[Key, Position] = {}
        for key, position in self.positions.items():
            self.opening += position.realised
            if position.product == "CNC":
                self._deliver(position)
            elif position.quantity:
                carried[key] = Position(
                    position.listed, position.product, position.quantity, position.average
                )
        self.positions = carried
        self.holdings = {
            name: held for name, held in self.holdings.items() if held.quantity + held.t1_quantity
        }

    def _deliver(self, position: Position) -> None:
        quantity = position.quantity
        if quantity == 0:
            return
        self.opening -= quantity * position.average
        if quantity > 0:
            name = position.listed.tradingsymbol
            held = self.holdings.setdefault(
                name, Holding(position.listed, f"INE{position.listed.exchange_token:09}", 0, _ZERO)
            )
            cost = held.quantity * held.average_price + quantity * position.average
            held.t1_quantity += quantity
            held.average_price = round(cost / (held.quantity + quantity), 4)


def margin(listed: Listed, product: str, sign: int, quantity: int, price: Decimal) -> dict[str, Decimal]:
    """What so many units at a price block, by kind: the whole value for delivery and premium, a share elsewhere."""
    value = quantity * price * _MULTIPLIER.get(listed.exchange, 1)
    if not quantity:
        return {}
    if product in {"CNC", "MTF"}:
        return {"delivery": value * sign if sign > 0 else _ZERO}
    if listed.exchange in {"NSE", "BSE"}:
        return {"span": value * _INTRADAY}
    if listed.instrument_type in {"CE", "PE"}:
        if sign > 0:
            return {"option_premium": value}
        value = max(value, quantity * Decimal(listed.strike))
    return {"span": value * _SPAN, "exposure": value * _EXPOSURE}


def _sum(amounts: dict[str, Decimal]) -> Decimal:
    return sum(amounts.values(), _ZERO)


def _per(value: Decimal, quantity: int, multiplier: int) -> Decimal:
    return round(value / quantity / multiplier, 6) if quantity else _ZERO
