"""Takes what risk has to decide, puts together what can be decided as one, and has it decided account by account."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from decimal import Decimal
from operator import attrgetter

from alphapanda.contract.wire import signal_event
from alphapanda.domain.funds import Payable
from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.order_events import Fill, Filled, OrderUpdate
from alphapanda.domain.signal import PositionKey, Signal, in_turn
from alphapanda.domain.verdict import Verdict
from alphapanda.resilience.failures import TransientFailure
from alphapanda.risk.account_decisions import Account, AccountDecisions, DecisionRequest
from alphapanda.risk.core.book import RiskBook, Superseded
from alphapanda.risk.core.check import Inputs
from alphapanda.risk.core.rejections import rejection_of
from alphapanda.risk.decision_inputs import DecisionInputs
from alphapanda.risk.decision_spans import UNRECORDED, DecisionSpans
from alphapanda.risk.measuring import DecisionFigures
from alphapanda.risk.store.port import RiskStore
from alphapanda.risk.switch_events import SOURCE
from alphapanda.storage.group_commit import GroupCommits

_AUTHORISED_TOGETHER = 64
"""Most explicit orders in one decision, so that a signal of the account waits for few of them."""
_DECIDED_TOGETHER = 64
"""Most batches of partitions in one decision."""


class DecisionService:
    """Makes the decisions of risk, stores them, and publishes their events through the outbox.

    Args:
        store: risk's store.
        inputs: reads what decisions need besides the account.
        wall_time: returns the current wall time, aware; only event envelopes carry it.
        measured: reports verdicts, their latencies, and what was decided before; None: nothing is measured.
        spans: records the decisions.
        superseded: told of orders that rest while a target waits for their end, once that is stored.
    """

    def __init__(
        self,
        store: RiskStore,
        inputs: DecisionInputs,
        wall_time: Callable[[], datetime],
        measured: DecisionFigures | None = None,
        spans: DecisionSpans = UNRECORDED,
        superseded: Callable[[Sequence[Superseded]], None] = lambda _: None,
    ) -> None:
        self._measured = measured or DecisionFigures()
        self._spans = spans
        self._superseded = superseded
        self.inputs = inputs
        self._store = store
        self._wall_time = wall_time
        self._decisions = AccountDecisions(store, inputs, wall_time, self._measured)
        self._authorising: GroupCommits[Account, Signal, Verdict] = GroupCommits(
            self._authorize, _AUTHORISED_TOGETHER
        )
        self._judging: GroupCommits[Account, Sequence[Signal], TransientFailure | None] = GroupCommits(
            self._judge_batches, _DECIDED_TOGETHER
        )

    async def judge(self, broker: str, account: str, signals: Sequence[Signal]) -> list[Verdict]:
        """Decides signals of one account, in order; a signal that was decided before is skipped.

        Raises:
            TransientFailure: the revision of a strategy isn't known yet.
        """
        began = self._spans.began()
        verdicts, waiting = await self._judge(broker, account, signals)
        self._spans.judged(signals, verdicts, waiting, began)
        return verdicts

    async def _judge(
        self, broker: str, account: str, signals: Sequence[Signal]
    ) -> tuple[list[Verdict], Collection[str]]:
        """Decides signals of one account, in order; returns the verdicts and the ids of the signals that wait."""
        waiting: set[str] = set()
        superseded: list[Superseded] = []
        known = 0

        def decide(book: RiskBook, inputs: Inputs) -> list[Verdict]:
            nonlocal known
            known, verdicts = 0, []
            for signal in signals:
                known += signal.signal_id in book.judged
                verdicts += book.judge(signal, inputs)
            waiting.clear()
            waiting.update(book.waiting(signals) if self._spans.on else ())
            superseded[:] = book.take_superseded()
            return verdicts

        keys = [signal.key for signal in signals]
        tokens, signal_ids = {one.instrument_token for one in signals}, {one.signal_id for one in signals}
        request = DecisionRequest((broker, account), keys, tokens, signal_ids, decide)
        verdicts = await self._decisions.make(request)
        self._measured.absorbed(broker, known)
        self._superseded(superseded)
        return verdicts, waiting

    async def judge_together(self, broker: str, account: str, signals: Sequence[Signal]) -> None:
        """Decides a batch of signals of one account, together with those that other partitions bring at the same moment.

        So the signals of one frame are decided in one order, whatever the partitions, before any of their orders fills.

        Raises:
            TransientFailure: the revision of a strategy of this batch isn't known yet.
        """
        failure = await self._judging.submit((broker, account), signals)
        if failure is not None:
            raise failure

    async def _judge_batches(self, batches: Sequence[Sequence[Signal]]) -> Sequence[TransientFailure | None]:
        """Decides batches of one account as one; where that has to wait, each by itself. Returns what each waits for."""
        key, signals = batches[0][0].key, in_turn(batches)
        try:
            await self.judge(key.broker, key.account, signals)
        except TransientFailure as failure:
            if len(batches) == 1:
                return [failure]
            places = {signal.signal_id: place for place, signal in enumerate(signals)}
            outcomes: list[TransientFailure | None] = [None] * len(batches)
            for at in sorted(range(len(batches)), key=lambda at: places[batches[at][0].signal_id]):
                (outcomes[at],) = await self._judge_batches([batches[at]])
            return outcomes
        return [None] * len(batches)

    async def discard(self, signal: Signal) -> list[Verdict]:
        """Refuses a parked signal that a person discarded, as DISCARDED, unless it has a verdict."""
        began = self._spans.began()
        verdicts = await self._decisions.make(
            DecisionRequest(
                (signal.key.broker, signal.key.account),
                [signal.key],
                [signal.instrument_token],
                [signal.signal_id],
                lambda book, inputs: book.discard(signal, inputs),
            )
        )
        for verdict in verdicts:
            self._spans.discarded(verdict, began)
        return verdicts

    async def apply(self, broker: str, account: str, events: Sequence[OrderUpdate]) -> list[Verdict]:
        """Applies order events of one account; decides targets that waited for the orders that have ended.

        Raises:
            TransientFailure: the revision of a waiting target's strategy isn't known yet.
        """
        orders = [one.order for one in events]
        superseded: list[Superseded] = []
        known = 0

        def decide(book: RiskBook, inputs: Inputs) -> list[Verdict]:
            nonlocal known
            known, verdicts = 0, []
            for one in events:
                known += book.has_applied(one.order)
                verdicts += book.on_order(one.order, inputs, _fill(one), rejection_of(one))
            superseded[:] = book.take_superseded()
            return verdicts

        keys = [order.key for order in orders]
        tokens, signal_ids = {one.instrument_token for one in orders}, {one.signal_id for one in orders}
        request = DecisionRequest((broker, account), keys, tokens, signal_ids, decide)
        verdicts = await self._make_released(request)
        self._measured.absorbed(broker, known)
        self._superseded(superseded)
        return verdicts

    async def release(self, key: PositionKey, signal_id: str) -> list[Verdict]:
        """Ends the reservation of an order that trading said will never exist; decides the target that waited for it.

        Raises:
            TransientFailure: the revision of the waiting target's strategy isn't known yet.
        """
        instrument = self.inputs.instruments().by_id(key.instrument_id)
        return await self._make_released(
            DecisionRequest(
                (key.broker, key.account),
                [key],
                [instrument.instrument_token] if instrument is not None else [],
                [signal_id],
                lambda book, inputs: book.release(key, signal_id, inputs),
            )
        )

    async def _make_released(self, request: DecisionRequest) -> list[Verdict]:
        """Decides what order events release: signals that had waited."""
        began = self._spans.began()
        verdicts = await self._decisions.make(request)
        for verdict in verdicts:
            self._spans.released(verdict, began)
        return verdicts

    async def authorize(self, signal: Signal) -> Verdict:
        """Decides an explicit order; if it was decided before, returns that verdict.

        Orders of one account that are asked for while a decision on it is under way are decided together.
        """
        began = self._spans.began()
        verdict = await self._authorising.submit((signal.key.broker, signal.key.account), signal)
        self._spans.authorised(verdict, began)
        return verdict

    async def _authorize(self, signals: Sequence[Signal]) -> list[Verdict]:
        """Decides explicit orders of one account, in one decision; returns the verdict on each."""
        key = signals[0].key
        began = self._spans.began()
        made, _ = await self._judge(key.broker, key.account, signals)
        given = {one.signal_id: one for one in made}
        asked = {signal.signal_id for signal in signals}
        for verdict in made:
            if verdict.signal_id not in asked:
                self._spans.released(verdict, began)
        verdicts = []
        for signal in signals:
            found = given.get(signal.signal_id) or await self._store.verdict(signal.signal_id)
            if found is None or isinstance(found, Signal):
                raise LookupError(f"no verdict was stored on the explicit order {signal.signal_id}")
            verdicts.append(found)
        return verdicts

    async def payable(self, key: PositionKey, units: int, price: Decimal, at: datetime) -> Payable:
        """What an account's funds pay of an order that the paper exchange has held and that is about to fill.

        Args:
            key: the order's position.
            units: signed units that may fill now.
            price: of the fill, rupees, slippage included.
            at: market time of the fill.
        """
        if not self.inputs.enforces_funds(key.broker):
            return Payable(abs(units))
        async with self._store.unit(key.broker, key.account, dry=True) as unit:
            book = await unit.book([key], ())
        return book.payable(key, units, price, at, self.inputs.of(NOTHING_KNOWN, unit, key.broker))

    async def inspect(
        self, broker: str, account: str, keys: Sequence[PositionKey] = (), tokens: Collection[int] = ()
    ) -> tuple[RiskBook, Inputs]:
        """Reads the whole account and the inputs of a decision on it. Nothing is stored.

        Args:
            broker: the account's broker.
            account: the account.
            keys: positions to load even if they are flat.
            tokens: tokens of instruments whose prices to read even if no position holds them.
        """
        async with self._store.unit(broker, account, dry=True) as unit:
            book = await unit.book(keys, (), whole=True)
        return book, self.inputs.of(
            await self.inputs.market({*tokens, *self.inputs.tokens_of(book)}), unit, broker
        )

    async def demand_square_offs(
        self, keys: Sequence[PositionKey], market: MarketView, cause: str
    ) -> list[Signal]:
        """Publishes the square-off signals that are due for these positions of one account.

        Repeating it publishes no signal twice, because a signal's id follows from the position and the due time.
        """
        broker, account = keys[0].broker, keys[0].account
        async with self._store.unit(broker, account) as unit:
            book = await unit.book(keys, ())
            signals = book.due(self.inputs.of(market, unit, broker), (broker,), cause, self.inputs.live)
            now = self._wall_time()
            await unit.save(book, (), [signal_event(signal, SOURCE, now) for signal in signals])
        return signals


def _fill(update: OrderUpdate) -> Fill | None:
    return update.fill if isinstance(update, Filled) else None


def by_account(keys: Sequence[PositionKey]) -> dict[tuple[str, str], list[int]]:
    """The indexes of the keys of each (broker, account), in order."""
    places: dict[tuple[str, str], list[int]] = {}
    whose = attrgetter("broker", "account")
    for at, key in enumerate(keys):
        places.setdefault(whose(key), []).append(at)
    return places
