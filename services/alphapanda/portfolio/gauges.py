"""Reads portfolio's gauges: cash, profit and exposure by broker, and how old the snapshots are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from alphapanda.domain.money import ZERO
from alphapanda.portfolio.cache import BooksCache
from alphapanda.portfolio.core.profit import Statement, statement
from alphapanda.portfolio.manager import PortfolioManager
from alphapanda.portfolio.store.port import PortfolioStore
from alphapanda.storage.price_cache import MarketViews
from alphapanda.telemetry import gauges
from alphapanda.telemetry.figures import Point


@dataclass(slots=True)
class BrokerTotals:
    """Sums over a broker's accounts, rupees; what a missing price makes unknown is None, and stays so."""

    cash: Decimal = ZERO
    realised: Decimal = ZERO
    charges: Decimal = ZERO
    equity: Decimal | None = field(default=ZERO)
    unrealised: Decimal | None = field(default=ZERO)
    day_pnl: Decimal | None = field(default=ZERO)
    long: Decimal = ZERO
    short: Decimal = ZERO
    positions: int = 0
    unpriced: int = 0

    def add(self, account: Statement, day_base: Decimal | None) -> None:
        """Adds an account; `day_base`: its equity when the day began, None where unknown."""
        self.cash += account.cash
        self.realised += account.profit.realised
        self.charges += account.profit.charges
        self.equity = _plus(self.equity, account.equity)
        self.unrealised = _plus(self.unrealised, account.profit.unrealised)
        known = account.equity is not None and day_base is not None
        self.day_pnl = _plus(self.day_pnl, account.equity - day_base if known else None)  # type: ignore[operator]
        for line in account.positions:
            if line.position.quantity:
                self.positions += 1
                value = line.market_value
                self.unpriced += value is None
                self.long += max(value or ZERO, ZERO)
                self.short += max(-(value or ZERO), ZERO)

    def points(self, broker: str) -> Sequence[Point]:
        """Returns the broker's gauges; those that are unknown are left out."""
        known = {
            gauges.CASH: self.cash,
            gauges.REALISED: self.realised,
            gauges.CHARGES: self.charges,
            gauges.EQUITY: self.equity,
            gauges.UNREALISED: self.unrealised,
            gauges.DAY_PNL: self.day_pnl,
            gauges.GROSS_EXPOSURE: self.long + self.short,
            gauges.NET_EXPOSURE: self.long - self.short,
            gauges.OPEN_POSITIONS: self.positions,
            gauges.UNPRICED_POSITIONS: self.unpriced,
        }
        return [Point(gauge, float(value), (broker,)) for gauge, value in known.items() if value is not None]


class PortfolioGauges:
    """Reads the gauges of all managed brokers.

    Args:
        store: revisions of accounts.
        cache: books of accounts.
        manager: last prices, and the managed brokers.
        market: market time.
        taken_to: returns the market time up to which all due snapshots are taken; None if unknown.
        trading_day: returns the market's day; None if unknown.
    """

    def __init__(
        self,
        store: PortfolioStore,
        cache: BooksCache,
        manager: PortfolioManager,
        market: MarketViews,
        taken_to: Callable[[], datetime | None],
        trading_day: Callable[[], date | None],
    ) -> None:
        self._store = store
        self._cache = cache
        self._manager = manager
        self._market = market
        self._taken_to = taken_to
        self._trading_day = trading_day

    async def points(self) -> Sequence[Point]:
        """Returns the gauges; an account's books come from the cache unless they have changed."""
        found: list[Point] = []
        day = self._trading_day()
        for broker in self._manager.brokers:
            totals = BrokerTotals()
            for name in await self._store.accounts(broker):
                state = await self._store.state(name, day)
                books = await self._cache.books(name, state) if state else None
                if state is None or books is None:
                    continue
                held = {position.key.instrument_id for position in books.positions}
                prices = {which: last.price for which, last in self._manager.prices(held).items()}
                account = statement(books.cash, books.strategies, books.positions, prices)
                totals.add(account, state.day_base)
            found += totals.points(broker)
        newest, now = self._taken_to(), (await self._market.view(())).market_time
        if newest is not None and now is not None:
            found.append(Point(gauges.SNAPSHOT_AGE, max((now - newest).total_seconds(), 0.0)))
        return found


def _plus(total: Decimal | None, more: Decimal | None) -> Decimal | None:
    return None if total is None or more is None else total + more
