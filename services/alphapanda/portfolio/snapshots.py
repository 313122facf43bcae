"""Takes snapshots of accounts: at the start of the market's day, at each interval of market time, and after fills."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, tzinfo
from functools import partial

import structlog

from alphapanda.contract.wire import envelope, timestamp
from alphapanda.domain.frame import instant
from alphapanda.portfolio.core.ledger import PRODUCER
from alphapanda.portfolio.core.snapshots import (
    Due,
    Snapshot,
    SnapshotCause,
    SnapshotClock,
    fills_snapshot_id,
    snapshot,
)
from alphapanda.portfolio.manager import PortfolioManager
from alphapanda.portfolio.messages import money
from alphapanda.portfolio.store.port import AccountBooks, AccountName, Cause, PortfolioStore
from alphapanda.resilience.rounds import Rounds
from alphapanda.storage.price_cache import MarketViews
from panda.events.v1 import portfolio_pb2 as events
from panda.events.v1.events_pb2 import Event

COALESCE_SECONDS = 1.0
"""Wall time within which an account's fills share one snapshot."""

_log = structlog.get_logger(__name__)


class Snapshots:
    """Takes snapshots and stores them with their events. Every process takes all of them; the first with an id is kept.

    Args:
        store: the books.
        manager: last prices, and the managed brokers.
        market: market time, before the first frame.
        interval: market time between two snapshots.
        zone: the market's time zone.
        wall_clock: aware wall time.
        coalesce_seconds: wall time within which an account's fills share one snapshot.

    Attributes:
        rounds: takes the snapshots due after fills.
    """

    def __init__(
        self,
        store: PortfolioStore,
        manager: PortfolioManager,
        market: MarketViews,
        interval: timedelta,
        zone: tzinfo,
        wall_clock: Callable[[], datetime],
        coalesce_seconds: float = COALESCE_SECONDS,
    ) -> None:
        self._store = store
        self._manager = manager
        self._market = market
        self._clock = SnapshotClock(interval, zone)
        self._wall_clock = wall_clock
        self._changed: dict[AccountName, Cause] = {}
        self._started = False
        self.rounds = Rounds("snapshots after fills", self.take_after_fills, coalesce_seconds, _log)

    @property
    def taken_to(self) -> datetime | None:
        """Market time up to which all due snapshots are taken; None if market time is unknown."""
        return self._clock.market_time

    @property
    def trading_day(self) -> date | None:
        """The market's day; None if market time is unknown."""
        now = self._clock.market_time
        return None if now is None else self._clock.trading_day(now)

    async def start(self) -> None:
        """Starts taking snapshots."""
        if (now := (await self._market.view(())).market_time) is not None:
            self._clock.seen(now)
        self._started = True
        await self.rounds.start()

    async def stop(self) -> None:
        """Stops, after taking the snapshots due after fills."""
        self._started = False
        await self.rounds.stop()
        await self.rounds.once()

    def booked(self, changed: Mapping[AccountName, Cause]) -> None:
        """Notes accounts whose books changed, each with the event of its last fill."""
        self._changed.update(changed)

    async def before(self, market_time_ns: int, cause: Cause) -> None:
        """Takes the snapshots that a frame of this market time makes due, at the prices before that frame.

        Does nothing before `start`, because the last prices aren't loaded yet.

        Raises:
            SQLAlchemyError, OSError: the database can't be reached; call it again with the same frame.
        """
        if not self._started:
            return
        market_time = instant(market_time_ns)
        for due in self._clock.due(market_time):
            for broker in self._manager.brokers:
                for name in await self._store.accounts(broker):
                    await self._take(name, due, due.snapshot_id(*name), cause)
        self._clock.settled(market_time)

    async def take_after_fills(self) -> None:
        """Takes a snapshot of every account whose books changed since the last call."""
        changed, self._changed = self._changed, {}
        now = self._clock.market_time
        if now is None:
            return
        due = Due(SnapshotCause.FILLS, now, self._clock.trading_day(now))
        try:
            for name, cause in changed.items():
                await self._take(name, due, None, cause)
        except BaseException:
            self._changed = changed | self._changed
            raise

    async def _take(self, name: AccountName, due: Due, snapshot_id: str | None, cause: Cause) -> None:
        await self._store.take_snapshot(name, cause, partial(self._make, due, snapshot_id), self._event)

    def _make(self, due: Due, snapshot_id: str | None, books: AccountBooks) -> Snapshot:
        held = {position.key.instrument_id for position in books.positions}
        prices = self._manager.prices(held)
        return snapshot(
            due,
            snapshot_id or fills_snapshot_id(*books.name, books.revision),
            *books.name,
            revision=books.revision,
            cash=books.cash,
            strategies=books.strategies,
            positions=books.positions,
            prices={instrument_id: last.price for instrument_id, last in prices.items()},
        )

    def _event(self, taken: Snapshot, cause: Cause) -> Event:
        event = envelope(
            event_id=taken.snapshot_id,
            correlation_id=cause.correlation_id,
            causation_id=cause.event_id,
            broker=taken.broker,
            source=PRODUCER,
            occurred_at=self._wall_clock(),
        )
        event.portfolio_snapshot.CopyFrom(snapshot_message(taken))
        return event


def snapshot_message(taken: Snapshot) -> events.PortfolioSnapshot:
    """The message of a snapshot, as it is published."""
    return events.PortfolioSnapshot(
        account=taken.account,
        revision=taken.revision,
        cause=events.SnapshotCause.ValueType(taken.cause),
        market_time=timestamp(taken.market_time),
        cash=money(taken.cash),
        equity=money(taken.equity),
        realised_pnl=money(taken.realised),
        unrealised_pnl=money(taken.unrealised),
        charges=money(taken.charges),
        open_positions=taken.open_positions,
    )
