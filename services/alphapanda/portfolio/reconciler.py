"""Reconciles a broker's accounts: reads its books and ours, compares, heals what can be proved, keeps what differs, halts and releases.

The database comes first: discrepancies and what counts as held outside change in one transaction. Risk is then told all instruments
in which entries are refused, with the number of that change; what it couldn't be told it is told with the next comparison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Final, Protocol

import grpc
import structlog

from alphapanda.domain.errors import UnknownName
from alphapanda.mesh.status import describe_rpc_error
from alphapanda.portfolio.brokers.reader import BooksUnreadable, BrokerReader
from alphapanda.portfolio.core.adjustment_plan import opposed, plan
from alphapanda.portfolio.core.comparison import compare
from alphapanda.portfolio.core.discrepancies import Discrepancy, Progress, progressed
from alphapanda.portfolio.core.discrepancy import Difference, Severity, State, Unit
from alphapanda.portfolio.core.notices import notices
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.reconciled_books import BrokerBooks, Held, OurBooks, OurFill
from alphapanda.portfolio.store.discrepancies import DiscrepancyStore
from alphapanda.portfolio.store.port import AccountName, PortfolioStore, PositionCursor
from alphapanda.portfolio.trading_books import Call, Trading, adjustment_request, read_trading
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1 import trading_pb2 as trading

CONFIRM_SECONDS: Final = 3.0
"""After it a difference is looked at again: what was on its way has arrived by then."""
_MOST_HALTS: Final = 1_000
_MOST_WORDS: Final = 1_000
_MOST_HEALED: Final = 50
_PAGE: Final = 500
_IST: Final = timedelta(hours=5, minutes=30)
_log = structlog.get_logger(__name__)


class Halts(Protocol):
    """The part of RiskService that is called here; RiskServiceStub implements it."""

    def SetInstrumentHalts(  # noqa: N802 - the contract's name
        self, request: risk.SetInstrumentHaltsRequest, /
    ) -> Awaitable[risk.SetInstrumentHaltsResponse]:
        """Takes the instruments in which entries are refused."""


@dataclass(frozen=True, slots=True)
class Look:
    """One comparison.

    Attributes:
        theirs: the broker's books; None where they couldn't be read.
        found: how they differ from ours.
        calls: trading's calls by tag.
        at: aware wall time.
        problem: why nothing was compared; empty where it was.
    """

    theirs: BrokerBooks | None
    found: Sequence[Difference]
    calls: Mapping[str, Call]
    at: datetime
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reconciliation of an account came to.

    Attributes:
        name: the account.
        look: the last comparison.
        alive: discrepancies that are SUSPECTED or OPEN now.
        agreed: those that are over, the ones that are remembered as held outside among them.
    """

    name: AccountName
    look: Look
    alive: Sequence[Discrepancy] = ()
    agreed: Sequence[Discrepancy] = field(default=())


class Reconciler:
    """Reconciles accounts.

    Args:
        store: portfolio's books.
        discrepancies: what differs.
        readers: read the books of each broker.
        trading: TradingService.
        halts: takes the halts of instruments.
        wall_clock: returns the aware wall time.
        confirm_seconds: after them what differs is looked at again.

    Attributes:
        latest: what the last reconciliation of each account came to.
    """

    def __init__(
        self,
        store: PortfolioStore,
        discrepancies: DiscrepancyStore,
        readers: Mapping[str, BrokerReader],
        trading: Trading,
        halts: Halts,
        wall_clock: Callable[[], datetime],
        confirm_seconds: float = CONFIRM_SECONDS,
    ) -> None:
        self._store = store
        self._discrepancies = discrepancies
        self._readers = readers
        self._trading = trading
        self._halts = halts
        self._wall_clock = wall_clock
        self._confirm_seconds = confirm_seconds
        self._locks: dict[AccountName, asyncio.Lock] = {}
        self.latest: dict[AccountName, Outcome] = {}
        self._unreadable: dict[AccountName, str] = {}
        self._noticed: dict[AccountName, frozenset[str]] = {}

    @property
    def live_brokers(self) -> Sequence[str]:
        """The brokers that are reconciled by themselves."""
        return [broker for broker, reader in self._readers.items() if reader.is_live]

    def reader(self, broker: str) -> BrokerReader:
        """Reads a broker's books.

        Raises:
            UnknownName: nobody does.
        """
        found = self._readers.get(broker)
        if found is None:
            raise UnknownName("broker", broker, self._readers)
        return found

    async def look(self, name: AccountName) -> Look:
        """Compares an account's books once, and changes nothing. The broker's are read first.

        Raises:
            UnknownName: nobody reads the broker's books.
        """
        reader = self.reader(name.broker)
        try:
            theirs = await reader.read(name)
            ours, calls = await self._ours(name, theirs)
        except BooksUnreadable as error:
            return Look(None, (), {}, self._wall_clock(), str(error))
        except grpc.aio.AioRpcError as error:
            why = f"trading doesn't tell its books now: {describe_rpc_error(error)}"
            return Look(None, (), {}, self._wall_clock(), why)
        now = self._wall_clock()
        found = compare(ours, theirs, now)
        theirs = replace(theirs, not_compared=[*theirs.not_compared, *notices(ours, theirs)])
        self._notice(name, theirs.not_compared)
        return Look(theirs, found, calls, now)

    def _notice(self, name: AccountName, lines: Sequence[str]) -> None:
        """Says what nobody compares and a person should know, once for as long as it stays."""
        for line in lines:
            if line not in self._noticed.get(name, ()):
                _log.warning("reconciliation.noticed", broker=name.broker, account=name.account, message=line)
        self._noticed[name] = frozenset(lines)

    async def look_alone(self, name: AccountName) -> Look:
        """`look`, while nothing else compares this account: the broker counts questions.

        Raises:
            UnknownName: nobody reads the broker's books.
        """
        async with self._locks.setdefault(name, asyncio.Lock()):
            return await self.look(name)

    async def reconcile(self, name: AccountName) -> Outcome:
        """Compares an account's books, heals, and compares again what differs.

        Raises:
            UnknownName: nobody reads the broker's books.
        """
        async with self._locks.setdefault(name, asyncio.Lock()):
            outcome = self.latest[name] = await self._reconcile(name)
            return outcome

    async def _reconcile(self, name: AccountName) -> Outcome:
        first = await self.look(name)
        if first.theirs is None:
            if self._unreadable.get(name) != first.problem:  # said once, not every minute of a night
                self._unreadable[name] = first.problem
                _log.warning(
                    "reconciliation.broker_unreadable",
                    broker=name.broker,
                    account=name.account,
                    error=first.problem,
                )
            return Outcome(name, first)
        self._unreadable.pop(name, None)
        progress = await self._record(name, first, first.theirs)
        over = [*progress.agreed, *progress.remembered]
        waiting = any(one.state is State.SUSPECTED for one in progress.alive)
        if not await self._heal(first) and not waiting:
            return Outcome(name, first, progress.alive, over)
        await asyncio.sleep(self._confirm_seconds)
        second = await self.look(name)
        if second.theirs is None:
            return Outcome(name, second, progress.alive, over)
        progress = await self._record(name, second, second.theirs)
        return Outcome(name, second, progress.alive, [*over, *progress.agreed, *progress.remembered])

    async def tell_risk(self, name: AccountName) -> None:
        """Tells risk in which instruments entries are refused; what it can't be told now it is told with the next comparison."""
        if not self.reader(name.broker).is_live:
            return
        revision, alive = await self._discrepancies.alive(name)
        reasons: dict[str, str] = {}
        for one in alive:
            if one.halts:
                difference = one.difference
                said = (
                    f"{difference.kind.name}: we have {difference.ours}, the broker {difference.theirs}"
                    f" ({difference.subject}; `alphapanda reconcile list --broker {name.broker}`)"
                )
                reasons.setdefault(difference.instrument_id, said[:_MOST_WORDS])
        halts = [
            risk.InstrumentHalt(instrument_id=instrument_id, reason=reason)
            for instrument_id, reason in sorted(reasons.items())
        ]
        request = risk.SetInstrumentHaltsRequest(
            revision=revision, broker=name.broker, account=name.account, halts=halts[:_MOST_HALTS]
        )
        try:
            await self._halts.SetInstrumentHalts(request)
        except grpc.aio.AioRpcError as error:
            _log.error(
                "reconciliation.halts_not_told",
                alarm=bool(halts),
                broker=name.broker,
                account=name.account,
                error=describe_rpc_error(error),
            )

    async def _record(self, name: AccountName, look: Look, theirs: BrokerBooks) -> Progress:
        recorded = await self._discrepancies.record(
            name,
            theirs,
            look.at,
            lambda before: progressed(name.broker, name.account, before, look.found, look.at),
        )
        progress = recorded.progress
        for one in progress.opened:
            _say_opened(one)
        for one in (*progress.agreed, *progress.remembered):
            _log.info(
                "discrepancy.ended",
                broker=one.broker,
                account=one.account,
                instrument_id=one.difference.instrument_id,
                kind=one.difference.kind.name,
                reason=one.resolution.name,
                discrepancy_id=one.discrepancy_id,
            )
        await self.tell_risk(name)
        return progress

    async def _heal(self, look: Look) -> bool:
        """Has trading ask for the orders that differ; returns whether it did."""
        tags = dict.fromkeys(tag for one in look.found for tag in one.tags if tag in look.calls)
        for tag in list(tags)[:_MOST_HEALED]:
            call = look.calls[tag]
            request = trading.RecheckOrderRequest(order_id=call.order_id, intent_id=call.intent_id)
            try:
                await self._trading.RecheckOrder(request)
            except grpc.aio.AioRpcError as error:
                _log.warning(
                    "reconciliation.order_not_rechecked",
                    order_id=call.order_id,
                    tag=tag,
                    error=describe_rpc_error(error),
                )
        return bool(tags)

    async def _ours(self, name: AccountName, theirs: BrokerBooks) -> tuple[OurBooks, Mapping[str, Call]]:
        since = datetime.combine(theirs.day, time(0), UTC) - _IST
        if not theirs.is_own:  # others have compared the orders
            in_trading = await read_trading(self._trading, name, None)
            held, _ = await self._held(name)
            return OurBooks(held=held, in_trading=in_trading.held), {}
        in_trading = await read_trading(self._trading, name, since)
        outside = await self._discrepancies.outside(name)
        held, opposed = await self._held(name)
        books = OurBooks(
            held=held,
            fills=await self._fills(name, since),
            orders=in_trading.orders,
            outside=outside.units,
            isins=outside.isins,
            in_trading=in_trading.held,
            opposed=opposed,
        )
        return books, in_trading.calls

    async def book(
        self, found: Discrepancy, ratio: tuple[int, int], strategy_id: str, reason: str
    ) -> tuple[tuple[Unit, int], ...]:
        """Has trading book what a discrepancy is of, once; its events bring it to every copy of positions, and to the ledger.

        Args:
            found: the discrepancy.
            ratio: new units for old ones, of a CORPORATE_ACTION; (0, 0) elsewhere.
            strategy_id: whose units are meant; empty: by the rule.
            reason: why, one sentence.

        Returns:
            What counts as held outside besides.

        Raises:
            InvalidInput: the request doesn't fit the discrepancy.
            NotBookable: our books don't hold it.
            grpc.aio.AioRpcError: trading refuses it, or doesn't answer.
        """
        name = AccountName(found.broker, found.account)
        outside = await self._discrepancies.outside(name)
        planned = plan(found.difference, await self._positions(name), outside.units, ratio, strategy_id)
        await self._trading.AdjustPositions(
            adjustment_request(name, planned, found.discrepancy_id, found.difference.instrument_id, reason)
        )
        return planned.outside

    async def _positions(self, name: AccountName) -> list[Position]:
        """All positions of an account, flat ones included."""
        found: list[Position] = []
        after: PositionCursor | None = None
        while True:
            page = await self._store.positions(
                name, strategy_id="", include_flat=True, after=after, limit=_PAGE
            )
            found += page
            if len(page) < _PAGE:
                return found
            key = page[-1].key
            after = PositionCursor(key.strategy_id, key.instrument_id, int(key.product))

    async def _held(self, name: AccountName) -> tuple[dict[Unit, Held], dict[Unit, tuple[int, int]]]:
        """What is held, and of it what stands against what was traded elsewhere."""
        held: dict[Unit, Held] = {}
        positions = await self._positions(name)
        for one in positions:
            unit = Unit(one.key.instrument_id, one.key.product)
            before = held.get(unit)
            quantity, cost = (before.quantity, before.cost) if before else (0, 0)
            held[unit] = Held(quantity + one.quantity, cost + one.cost)
        return held, opposed(positions)

    async def _fills(self, name: AccountName, since: datetime) -> list[OurFill]:
        """The fills since the day's begin, newest first."""
        fills: list[OurFill] = []
        before: int | None = None
        while True:
            page = await self._store.fills(name, strategy_id="", order_id="", before=before, limit=_PAGE)
            fills += [
                OurFill(
                    one.fill_id,
                    one.order_id,
                    one.key.instrument_id,
                    one.key.product,
                    one.side,
                    one.quantity,
                    one.price,
                )
                for one in page
                if one.traded_at >= since
            ]
            if len(page) < _PAGE or page[-1].traded_at < since:
                return fills
            before = page[-1].revision


def _say_opened(one: Discrepancy) -> None:
    difference = one.difference
    severe = difference.severity is Severity.CRITICAL
    say = _log.error if severe else _log.warning
    say(
        "discrepancy.opened",
        alarm=severe,
        broker=one.broker,
        account=one.account,
        instrument_id=difference.instrument_id,
        kind=difference.kind.name,
        ours=difference.ours,
        theirs=difference.theirs,
        reason=difference.cause,
        discrepancy_id=one.discrepancy_id,
    )
