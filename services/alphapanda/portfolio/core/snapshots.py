"""Snapshots of accounts at a moment of market time, and the clock that says when they are due."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import IntEnum

from alphapanda.domain import ids
from alphapanda.domain.frame import EPOCH
from alphapanda.portfolio.core.ledger import PRODUCER
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.profit import StrategyTotals, statement


class SnapshotCause(IntEnum):
    """Why a snapshot is taken; numbered as in panda.events.v1."""

    DAY_START = 1
    INTERVAL = 2
    FILLS = 3


@dataclass(frozen=True, slots=True)
class Due:
    """A moment at which a snapshot of every account is due.

    Attributes:
        cause: DAY_START or INTERVAL.
        market_time: the start of the day, or of the interval; aware.
        trading_day: the date in the market's zone.
    """

    cause: SnapshotCause
    market_time: datetime
    trading_day: date

    def snapshot_id(self, broker: str, account: str) -> str:
        """The id of an account's snapshot at this moment; the same in every process."""
        return ids.timer_id(f"{broker}/{account}", f"{PRODUCER} snapshot {self.cause.name}", self.market_time)


def fills_snapshot_id(broker: str, account: str, revision: int) -> str:
    """The id of the snapshot taken after fills, at an account's revision."""
    return ids.output_id(PRODUCER, ids.derived_id("account", broker, account), "snapshot", revision)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An account at one moment; amounts in rupees.

    Attributes:
        snapshot_id: its id, which is also the event's id.
        broker: the account's broker.
        account: the account's name at the broker.
        cause: why it was taken.
        market_time: aware.
        trading_day: date of `market_time` in the market's zone.
        revision: the account's revision.
        cash: rupees.
        equity: cash + market value; None if a price is missing.
        realised: realised profit before commission.
        unrealised: market value - cost; None if a price is missing.
        charges: charges paid, 0 or more.
        open_positions: number of positions that aren't flat.
    """

    snapshot_id: str
    broker: str
    account: str
    cause: SnapshotCause
    market_time: datetime
    trading_day: date
    revision: int
    cash: Decimal
    equity: Decimal | None
    realised: Decimal
    unrealised: Decimal | None
    charges: Decimal
    open_positions: int


def snapshot(
    due: Due,
    snapshot_id: str,
    broker: str,
    account: str,
    *,
    revision: int,
    cash: Decimal,
    strategies: Iterable[StrategyTotals],
    positions: Iterable[Position],
    prices: Mapping[str, Decimal],
) -> Snapshot:
    """Makes the snapshot of an account.

    Args:
        due: cause and moment.
        snapshot_id: its id.
        broker: the account's broker.
        account: the account's name at the broker.
        revision: the account's revision.
        cash: rupees.
        strategies: the totals of every strategy that has ever had a fill.
        positions: at least the open ones.
        prices: last prices by instrument_id; an instrument without a price is absent.
    """
    valued = statement(cash, strategies, positions, prices)
    return Snapshot(
        snapshot_id=snapshot_id,
        broker=broker,
        account=account,
        cause=due.cause,
        market_time=due.market_time,
        trading_day=due.trading_day,
        revision=revision,
        cash=cash,
        equity=valued.equity,
        realised=valued.profit.realised,
        unrealised=valued.profit.unrealised,
        charges=valued.profit.charges,
        open_positions=sum(line.open_positions for line in valued.strategies),
    )


class SnapshotClock:
    """Tells which snapshots are due as market time advances. Intervals count from the epoch, the same in every process.

    Args:
        interval: of market time, > 0.
        zone: the market's time zone.
    """

    def __init__(self, interval: timedelta, zone: tzinfo) -> None:
        self._interval = interval
        self._zone = zone
        self._now: datetime | None = None
        self._settled: datetime | None = None

    @property
    def market_time(self) -> datetime | None:
        """The newest market time seen; None before the first."""
        return self._now

    def seen(self, market_time: datetime) -> None:
        """Records a market time; an older one changes nothing."""
        if self._now is None or market_time > self._now:
            self._now = market_time

    def due(self, market_time: datetime) -> list[Due]:
        """The moments due when market time reaches `market_time`, oldest first; the same until `settled` is called."""
        settled = self._settled
        if settled == market_time:
            return []  # as for all frames of a moment but the first
        found = []
        day = self.trading_day(market_time)
        if settled is None or self.trading_day(settled) < day:
            begins = datetime.combine(day, time(), self._zone).astimezone(UTC)
            found.append(Due(SnapshotCause.DAY_START, begins, day))
        begins = self._interval_start(market_time)
        if settled is None or self._interval_start(settled) < begins:
            found.append(Due(SnapshotCause.INTERVAL, begins, self.trading_day(begins)))
        return found

    def settled(self, market_time: datetime) -> None:
        """Marks everything due up to `market_time` as taken."""
        self.seen(market_time)
        if self._settled is None or market_time > self._settled:
            self._settled = market_time

    def trading_day(self, market_time: datetime) -> date:
        """The date in the market's zone."""
        return market_time.astimezone(self._zone).date()

    def _interval_start(self, market_time: datetime) -> datetime:
        return market_time - (market_time - EPOCH) % self._interval
