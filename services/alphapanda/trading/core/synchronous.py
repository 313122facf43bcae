"""Trading for replay, without I/O: an approved signal becomes an order with its fills in one call.

An order that the paper exchange holds, until the next open or until the market has its price, ends in a later call of `settle`.
The order, the checks and the fill model are those of the running service.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import TradingState
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import Terms
from alphapanda.domain.verdict import Approved
from alphapanda.paper_exchange.core.held_order import NOT_WORKING, NotChanged, PayableAtFill
from alphapanda.paper_exchange.core.paper_book import PaperBook
from alphapanda.paper_exchange.core.paper_charges import PaperOrder
from alphapanda.trading.core.checks import CheckInputs, NotSent, PreSubmitChecks
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest
from alphapanda.trading.core.synchronous_protection import SynchronousProtections

_ACTIVE: Final = TradingState.ACTIVE
_OPEN: Final = BrokerOrderStatus.OPEN


@dataclass(frozen=True, slots=True)
class _Held:
    """An order that its exchange holds, with the number that it has there."""

    order: Order
    instrument: Instrument
    number: str


class SynchronousTrading:
    """Executes approved signals at paper exchanges in memory.

    Args:
        checks: the checks before sending.
        instruments: what can be traded.
        books: the in-memory paper exchange of each broker, by name.
        calendar: sessions, for protections; None: it isn't known when one is open.

    Attributes:
        needs_each_price: whether each price has to be looked at, though no order waits.
        has_circuits: whether the market's views need the day's first prices.
        protections: the protections of positions.
    """

    def __init__(
        self,
        checks: PreSubmitChecks,
        instruments: InstrumentDirectory,
        books: Mapping[str, PaperBook],
        calendar: TradingCalendar | None = None,
    ) -> None:
        self._checks = checks
        self._instruments = instruments
        self._books = books
        self._positions: defaultdict[PositionKey, int] = defaultdict(int)
        self._held: dict[str, _Held] = {}
        self.needs_each_price = any(book.needs_each_price for book in books.values())
        self.has_circuits = any(book.has_circuits for book in books.values())
        self.protections = SynchronousProtections(self, calendar)

    @property
    def held_tokens(self) -> list[int]:
        """The token of each order that is held; empty if none is."""
        return [held.order.instrument_token for held in self._held.values()]

    @property
    def holds(self) -> bool:
        """Whether an order is held."""
        return bool(self._held)

    @property
    def waits(self) -> bool:
        """Whether an order is held or a position protected, so that each frame counts."""
        return bool(self._held or self.protections.records)

    def position(self, key: PositionKey) -> int:
        """Units held under a key, signed."""
        return self._positions[key]

    def execute(self, verdict: Approved, market: MarketView, causation_id: str = "") -> list[OrderUpdate]:
        """The updates of the signal's order, oldest first; the last one is terminal unless the order is held."""
        order = Order.approved(verdict, causation_id, (verdict.quantity,))
        return self.submit(order, self._instruments.by_id(verdict.key.instrument_id), market)

    def executed(
        self, verdict: Approved, market: MarketView, causation_id: str = ""
    ) -> Iterator[list[OrderUpdate]]:
        """Executes a signal where positions may be protected; yields the updates of each order that this changes."""
        order = Order.approved(verdict, causation_id, (verdict.quantity,))
        instrument, protections = self._instruments.by_id(order.key.instrument_id), self.protections
        protections.arm(order)
        if instrument is None or not protections.concerns(order.key):
            yield self.submit(order, instrument, market)
            return
        protections.note(order)
        for ended in protections.before(order, instrument, market):
            if isinstance(ended, NotSent):
                yield order.not_sent(ended.reason, ended.message, market.market_time)
                break
            if isinstance(ended, list):
                yield ended
            else:
                protections.note(ended)
                yield self.submit(ended, instrument, market)
        yield from protections.advance(order.key, instrument, market)

    def step(self, key: PositionKey, market: MarketView) -> Iterator[list[OrderUpdate]]:
        """Steps the protections of a position at the present prices; yields the updates of each order that this changes."""
        instrument = self._instruments.by_id(key.instrument_id)
        if instrument is not None and self.protections.concerns(key):
            yield from self.protections.advance(key, instrument, market)

    def change(self, order: Order, change: ChangeRequest, market: MarketView) -> list[OrderUpdate]:
        """Carries out a change of an order of one slice.

        Raises:
            NotChanged: it isn't held, or an exchange wouldn't take it so.
        """
        if change.kind is ChangeKind.CANCEL:
            return self.cancel(order.order_id, market)
        return self.modify(
            order.order_id, change.quantity or order.quantity, change.terms or order.terms, market
        )

    def submit(self, order: Order, instrument: Instrument | None, market: MarketView) -> list[OrderUpdate]:
        """Checks and sends an order; returns its updates, of which the last one is terminal unless it is held."""
        key = order.key
        position = self._positions[key]
        at = CheckInputs(instrument, market, position, _ACTIVE, True)  # noqa: FBT003 - simulated
        decision = self._checks.judge(order, at)
        if isinstance(decision, NotSent):
            return order.not_sent(decision.reason, decision.message, market.market_time)
        order.send_as(decision.parts)
        if instrument is None:
            raise LookupError(f"the checks passed an order of an unknown instrument, {key.instrument_id}")
        return self._sent(order, instrument, market)

    def settle(self, market: MarketView, payable: PayableAtFill) -> Iterator[list[OrderUpdate]]:
        """Fills or ends the orders that were held before this call and have a price now, or whose day is over.

        Args:
            market: prices of the held orders' instruments and the market's time.
            payable: what the account's funds pay of an order; asked after the caller has had the updates before.

        Yields:
            The updates of each order that has changed, in the order in which the market meets them; the next slice of an order
            comes behind them. What the caller executes meanwhile sees their fills.
        """
        due = deque(self._in_turn(market))
        while due:
            held = due.popleft()
            order = held.order
            if self._held.get(order.order_id) is not held:
                continue
            report = self._books[order.key.broker].settle(held.number, market, payable)
            if report is None:
                continue
            updates = self._reported(held, report, market)
            if order.order_id not in self._held:
                updates += self._sent(order, held.instrument, market)
                if order.current is not None:
                    due.append(self._held[order.order_id])
            if updates:
                yield updates

    def modify(self, order_id: str, quantity: int, terms: Terms, market: MarketView) -> list[OrderUpdate]:
        """Modifies what is held of an order, of one slice: its units in all and its terms.

        Raises:
            NotChanged: it isn't held, is of several slices, or an exchange wouldn't take it so.
        """
        held = self._to_change(order_id)
        if len(held.order.intents) > 1:
            raise NotChanged("an order of several slices can't be modified; cancel it")
        book = self._books[held.order.key.broker]
        return self._reported(held, book.modify(held.number, quantity, terms, market), market)

    def cancel(self, order_id: str, market: MarketView) -> list[OrderUpdate]:
        """Cancels what is held of an order, and with it what was not sent yet; returns its updates.

        Raises:
            NotChanged: it isn't held.
        """
        held = self._to_change(order_id)
        return self._reported(held, self._books[held.order.key.broker].cancel(held.number), market)

    def _to_change(self, order_id: str) -> _Held:
        if (held := self._held.get(order_id)) is None:
            raise NotChanged(NOT_WORKING)
        return held

    def _in_turn(self, market: MarketView) -> list[_Held]:
        """The held orders in the order in which the market meets them: along the bar's path, then as they were placed."""
        held = list(self._held.values())
        if any(one.order.terms.rests for one in held):
            held.sort(key=lambda one: self._books[one.order.key.broker].way(one.number, market))
        return held

    def end(self, market: MarketView) -> list[OrderUpdate]:
        """Cancels the first order that is held, because the recording has ended; call it while one is held.

        Args:
            market: prices and the market's time at the end.

        Returns:
            Its updates.
        """
        held = next(iter(self._held.values()))
        return self._reported(held, self._books[held.order.key.broker].end(held.number), market)

    def _reported(self, held: _Held, report: BrokerOrder, market: MarketView) -> list[OrderUpdate]:
        """Applies the exchange's report of an order that it holds, or has held until now."""
        order, intent = held.order, held.order.current
        if intent is None:
            raise LookupError(f"order {order.order_id} was held and had ended")
        if report.status is not BrokerOrderStatus.OPEN:
            del self._held[order.order_id]
        filled = order.filled
        updates = order.report(intent, report, market.market_time)
        self._move(order, filled)
        return updates

    def _sent(self, order: Order, instrument: Instrument, market: MarketView) -> list[OrderUpdate]:
        """Sends the order's intents one after the other, until it has ended or is held."""
        updates: list[OrderUpdate] = []
        book, filled = self._books[order.key.broker], order.filled
        while not order.status.is_final:
            came_at = order.market_time
            intent = order.submitting(0)
            placed = PaperOrder(
                order.key.account,
                order.key.strategy_id,
                instrument,
                order.key.product,
                order.side,
                intent.quantity,
                intent.number,
                order.terms,
            )
            report = book.place(placed, came_at, market)
            updates += order.report(intent, report, market.market_time)
            if report.status is _OPEN:
                self._held[order.order_id] = _Held(order, instrument, report.broker_order_id)
                break
        self._move(order, filled)
        return updates

    def _move(self, order: Order, filled_before: int) -> None:
        self._positions[order.key] += order.side.sign * (order.filled - filled_before)
