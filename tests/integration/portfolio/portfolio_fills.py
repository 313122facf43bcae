"""Fills to book in portfolio's stores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import NAMESPACE_OID, uuid5

from alphapanda.domain.charge_rates import ChargeSegment, load_charge_rates
from alphapanda.domain.charges import NO_CHARGES, fill_charges
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, Filled, OrderState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.portfolio.store.port import ReceivedFill

OPENED = datetime(2024, 1, 2, 4, 0, tzinfo=UTC)
RATES = load_charge_rates()


@dataclass(frozen=True)
class Fills:
    """Makes fills: the n-th of an account and key has the same ids each time."""

    broker: str = "paper"

    def __call__(
        self,
        n: int,
        units: int,
        price: str,
        commission: str = "0",
        *,
        strategy: str = "ema",
        instrument: str = "NSE:INFY",
        token: int = 408065,
        account: str = "default",
        product: Product = Product.MIS,
        day: int = 0,
        charged: bool = False,
    ) -> ReceivedFill:
        """A fill of the day `day` days after the opening; `charged`: with Zerodha's charges in place of the commission."""
        key = PositionKey(self.broker, account, strategy, instrument, product)
        at = OPENED + timedelta(days=day, seconds=n)
        charges = NO_CHARGES
        if charged:
            sheet = RATES.sheet(at.date(), "NSE", ChargeSegment.of("EQ", product), fall_back=False)
            charges = fill_charges(sheet, Side.of(units), abs(units), Decimal(price))
        order = OrderState(
            order_id=str(uuid5(NAMESPACE_OID, f"order {self.broker} {account} {n}")),
            signal_id=str(uuid5(NAMESPACE_OID, f"signal {self.broker} {account} {n}")),
            key=key,
            instrument_token=token,
            side=Side.of(units),
            quantity=abs(units),
            terms=AT_MARKET,
            effect=PositionEffect.OPENS,
            status=OrderStatus.FILLED,
            revision=2,
            filled=abs(units),
            leaves=0,
            average_price=Decimal(price),
            market_time=at,
        )
        fill = Fill(
            str(uuid5(NAMESPACE_OID, f"fill {self.broker} {account} {n}")),
            f"T{n}",
            abs(units),
            Decimal(price),
            charges.in_paise if charged else Decimal(commission),
            at,
            charges,
        )
        return ReceivedFill(Filled(order, fill), str(uuid5(NAMESPACE_OID, f"chain {n}")))
