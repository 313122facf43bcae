"""The replay loop: calls the services' cores directly, in the order of lockstep."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import partial

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.charges import NO_CHARGES, Charges, merged
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.fill_rule import FillRule
from alphapanda.domain.frame import Frame, instant
from alphapanda.domain.frame_batch import FrameBatch, OutOfOrder
from alphapanda.domain.funds import AccountFunds, FundsTerms, Payable
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import MarketView
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import Product, TradingState
from alphapanda.domain.order_events import Cancelled, Fill, Filled, OrderUpdate
from alphapanda.domain.signal import PositionKey, Signal, in_turn
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.paper_exchange.core.held_order import HeldOrder
from alphapanda.portfolio.core.book import PortfolioBook
from alphapanda.portfolio.core.drawdown import EquityTracker
from alphapanda.portfolio.core.profit import Statement, statement, totals_of
from alphapanda.replay.deciding import AtTick, Deciding
from alphapanda.replay.journal import batches
from alphapanda.replay.prices import LastPrices
from alphapanda.replay.square_off_watch import SquareOffWatch
from alphapanda.replay.superseding import make_way
from alphapanda.replay.tally import Tally
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs, StrategyStatus, Venue
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.named_limits import ACCOUNT_WIDE, COUNTED
from alphapanda.risk.core.position import PositionState
from alphapanda.risk.core.rejections import rejection_of
from alphapanda.risk.core.scoped_limits import NOTHING_SET, ScopedLimits
from alphapanda.strategy.core.watching import StrategyFailure
from alphapanda.trading.core.synchronous import SynchronousTrading


class Replay:
    """Replays frames through strategies, risk, trading and the ledgers of the accounts.

    Args:
        host: the configured strategies.
        trading: paper exchanges in memory.
        books: the ledgers of the accounts, just opened; at least one.
        instruments: the instruments.
        calendar: the exchange's sessions.
        limits: the limits from the settings.
        strategy_statuses: the statuses of the strategies, all running.
        brokers: brokers whose positions are squared off.
        price_scale: units of a frame's price in one rupee.
        on_fill: called with each fill, with the charges booked for it, and the rupees that it realised; None: not called.
        scoped: limits of the account, its strategies and instruments; they override `limits`.
        funds: how the account's funds are measured; None: entries needn't be paid.
        fill: when orders on recorded bars fill.
        venue: whether what a live broker would refuse is refused.

    Attributes:
        tracker: tracks equity and drawdown of all accounts together.
        tally: counts of signals, verdicts, orders and fills.
        books: the ledgers by account.
    """

    def __init__(
        self,
        *,
        host: Deciding,
        trading: SynchronousTrading,
        books: Sequence[PortfolioBook],
        instruments: InstrumentDirectory,
        calendar: TradingCalendar,
        limits: Limits,
        strategy_statuses: Mapping[str, StrategyStatus],
        brokers: Sequence[str],
        price_scale: int,
        on_fill: Callable[[Filled, Decimal], None] | None = None,
        scoped: ScopedLimits = NOTHING_SET,
        funds: FundsTerms | None = None,
        fill: FillRule = FillRule.NEXT_OPEN,
        venue: Venue = Venue.AS_LIVE,
    ) -> None:
        self.fill = fill
        self._host = host
        self._risk = RiskBook(
            funds={(book.broker, book.account): AccountFunds(book.starting_cash) for book in books},
            tracks_history=scoped.may_set(COUNTED, limits),
        )
        self._funds = funds
        self._venue = venue
        self._trading = trading
        self.books = {book.account: book for book in books}
        self._instruments = instruments
        self._calendar = calendar
        self._limits = limits
        self._scoped = scoped
        self._account_wide = scoped.may_set(ACCOUNT_WIDE, limits)
        self._strategy_statuses = strategy_statuses
        self._brokers = tuple(brokers)
        self._scale, self._active = price_scale, TradingState.ACTIVE
        self._on_fill = on_fill
        self._has_position_readers = bool(host.readers())
        self._prices = LastPrices(price_scale, fill is FillRule.NEXT_OPEN, trading.has_circuits)
        self._market_time_ns = 0
        self._watch = SquareOffWatch(calendar, limits.mis_cut_off)
        self.tracker = EquityTracker(self.starting_cash, price_scale)
        self.tally = Tally()

    def run(
        self,
        frames: Iterable[Frame],
        *,
        one_by_one: bool = False,
        batched: Callable[[Iterable[Frame]], Iterator[Sequence[Frame]]] = batches,
    ) -> None:
        """Handles all frames, each in the order of lockstep: prices, then timers, then strategies.

        Strategies that support batches compute their targets for a batch of frames ahead; each target is then executed
        at its frame, so the result is the same.

        Args:
            frames: the frames in their order.
            one_by_one: whether strategies get the frames singly, even where they support batches.
            batched: splits them into batches; asked for the next batch when all before it have had their effects.

        Raises:
            InvalidInput: the interval of a strategy can't be made from the recorded bars.
        """
        for many in batched(frames):
            batch = None
            if not one_by_one:
                with suppress(OutOfOrder):
                    batch = FrameBatch(many)
            self.handle(many, batch)
        self._end_held()

    def handle(self, many: Sequence[Frame], batch: FrameBatch | None) -> None:
        """Handles frames, which follow those of the calls before.

        Args:
            many: the frames.
            batch: the same joined; None: strategies get them singly.

        Raises:
            InvalidInput: the interval of a strategy can't be made from the recorded bars.
        """
        self._handle(many, batch)
        for strategy_id, (interval, why) in self._host.unserved.items():
            raise InvalidInput(f"strategy {strategy_id}, interval", interval, why)

    def _handle(self, many: Sequence[Frame], batch: FrameBatch | None) -> None:
        if batch is None or self._trading.needs_each_price:
            self._one_by_one(many)
            return
        targets = self._host.on_batch(batch) if batch.market_time_ns[0] >= self._market_time_ns else None
        if targets is None:
            self._one_by_one(many)
        else:
            self._batch(batch, targets)

    def _batch(self, batch: FrameBatch, targets: Sequence[AtTick]) -> None:
        """Handles a batch, stopping only at frames with a target or a square-off check."""
        frames, times, ends = batch.frames, batch.market_time_ns, batch.ends
        waiting = deque(targets)
        target_frame = bisect_right(ends, waiting[0].tick) if waiting else len(frames)
        position = 0
        while position < len(frames):
            one_frame = self._trading.waits
            if one_frame:
                self._settle_held(frames[position])
            due = bisect_left(times, max(self._watch.next_ns, self._market_time_ns + 1), position)
            stop = min(target_frame, due, position if one_frame else len(frames))
            if stop == len(frames):
                break
            self._prices.take(batch, position, stop, self.tracker)
            self._market_time_ns = times[stop]
            position = stop + 1
            frame = frames[stop]
            if stop == due:
                self._square_off(times[stop], frame.frame_id)
            if stop == target_frame:
                frame_targets = []
                while waiting and waiting[0].tick < ends[stop]:
                    frame_targets.append(waiting.popleft())
                signals = self._host.signals_of(frame_targets, frame, ends[stop])
                if signals:
                    self._decide(signals, frame.market_time, frame.feed_run)
                target_frame = bisect_right(ends, waiting[0].tick, position) if waiting else len(frames)
        if position < len(frames):
            self._prices.take(batch, position, len(frames) - 1, self.tracker)
            self._market_time_ns = times[-1]

    def _one_by_one(self, frames: Iterable[Frame]) -> None:
        mark, on_frame, trading = self.tracker.mark, self._host.on_frame, self._trading
        market_time_ns = self._market_time_ns
        for frame in frames:
            if trading.waits:
                self._settle_held(frame)
            else:
                self._prices.quote(frame)
            for token, price in zip(frame.instrument_token, frame.last_price, strict=True):
                mark(token, price)
            if frame.market_time_ns > market_time_ns:
                market_time_ns = self._market_time_ns = frame.market_time_ns
                if market_time_ns >= self._watch.next_ns:
                    self._square_off(market_time_ns, frame.frame_id)
            signals = on_frame(frame)
            if signals:
                self._decide(signals, frame.market_time, frame.feed_run)

    def _settle_held(self, frame: Frame) -> None:
        """Lets the exchange fill or cancel the orders that it holds, at a frame's prices and before all else."""
        self._prices.quote(frame)
        held = self._trading.held_tokens
        market = self._prices.view(held, frame.market_time, frame.feed_run)
        terms = self._inputs(market)

        def payable(order: HeldOrder, fill: Fill) -> Payable:
            units = order.order.side.sign * fill.quantity
            return self.tally.paid(self._risk.payable(order.key, units, fill.price, fill.traded_at, terms))

        for updates in self._trading.settle(market, payable):
            inputs = self._inputs_at(held, frame.market_time, frame.feed_run)
            due: deque[Verdict] = deque()
            self._apply(updates, inputs, due)
            self._settle(due, inputs)
            self.tally.settled(updates[-1])
            self._watch.opened(frame.market_time_ns)
            if self._trading.protections:
                self._protect(updates[-1].order.key, frame)
        while any(self._protect(key, frame) for key in self._trading.protections.keys):
            pass

    def _protect(self, key: PositionKey, frame: Frame) -> bool:
        """Steps the protections of a position; returns whether anything has changed."""
        inputs = self._inputs_at(self._tokens([self._risk.position(key)]), frame.market_time, frame.feed_run)
        changed = False
        for updates in self._trading.step(key, inputs.market):
            changed = True
            due: deque[Verdict] = deque()
            self._apply_protected(updates, inputs, due)
            self._settle(due, inputs)
            self._watch.opened(frame.market_time_ns)
        return changed

    def _apply_protected(self, updates: Sequence[OrderUpdate], inputs: Inputs, due: deque[Verdict]) -> None:
        """Books an order's updates where positions are protected: it may be a stop or an exit, which nobody counted yet."""
        if updates:
            protective = updates[0].order.protective
            self.tally.orders += protective and updates[0].order.revision == 1
            self.tally.cancelled += protective and isinstance(updates[-1], Cancelled)
            self._apply(updates, inputs, due)

    def _end_held(self) -> None:
        """Cancels the orders that still wait for the open of a next bar, which the recording doesn't have."""
        while self._trading.holds:
            market = self._prices.view(self._trading.held_tokens, instant(self._market_time_ns), "")
            inputs = self._inputs(market)
            due: deque[Verdict] = deque()
            self._apply(self._trading.end(market), inputs, due)
            self.tally.held += 1
            self._settle(due, inputs)

    @property
    def starting_cash(self) -> Decimal:
        """The starting cash of all accounts in rupees."""
        return sum((book.starting_cash for book in self.books.values()), ZERO)

    @property
    def not_covered(self) -> CalendarNotCovered | None:
        """The error of the first day with ticks that the calendar doesn't cover; strategies got none of these ticks."""
        return self._host.not_covered

    def strategy_failures(self) -> list[str]:
        """The strategies' errors, one line a strategy: how many, the last one, whether it was stopped."""
        raised: dict[str, list[StrategyFailure]] = {}
        for failure in self._host.take_failures():
            raised.setdefault(failure.strategy_id, []).append(failure)
        return [
            f"strategy {name} was stopped: {failures[-1].why}"
            if failures[-1].stopped
            else f"strategy {name} raised {len(failures)} times, last on {failures[-1].instrument_id}: {failures[-1].error}"
            for name, failures in sorted(raised.items())
        ]

    def statement(self, account: str | None = None) -> Statement:
        """Value and profit of an account at the last prices; None: of all accounts together."""
        books = list(self.books.values()) if account is None else [self.books[account]]
        prices = {}
        for token, (price, *_) in self._prices.last.items():
            instrument = self._instruments.by_token(token)
            if instrument is not None:
                prices[instrument.instrument_id] = Decimal(price) / self._scale
        positions = [position for book in books for position in book.positions.values()]
        cash = sum((book.cash for book in books), ZERO)
        lines: dict[str, Charges] = {}
        for book in books:
            for strategy_id, charges in book.charge_days.by_strategy().items():
                lines[strategy_id] = merged([lines.get(strategy_id, NO_CHARGES), charges])
        return statement(cash, totals_of(positions, lines), positions, prices)

    def _square_off(self, market_time_ns: int, cause: str) -> None:
        open_keys = [state for state in self._risk.positions.values() if state.quantity]
        intraday = [state for state in open_keys if state.key.product is Product.MIS]
        if intraday:
            measured = open_keys if self._account_wide else intraday
            market = self._prices.view(self._tokens(measured), instant(market_time_ns), "")
            inputs = self._inputs(market)
            for signal in self._risk.due(inputs, self._brokers, cause):
                self.tally.signals += 1
                self._settle(self._risk.judge(signal, inputs), inputs)
            held = (state for state in self._risk.positions.values() if state.quantity)
            intraday = [state for state in held if state.key.product is Product.MIS]
        self._watch.checked(market_time_ns, intraday_open=bool(intraday))

    def _decide(self, signals: Sequence[Signal], market_time: datetime, feed_run: str) -> None:
        inputs = self._inputs_at([signal.instrument_token for signal in signals], market_time, feed_run)
        self.tally.signals += len(signals)
        # As in the services, all signals of a frame are decided before any of their orders fills.
        in_order = signals if len(signals) == 1 else in_turn([signals])
        verdicts = [verdict for signal in in_order for verdict in self._risk.judge(signal, inputs)]
        self._settle(verdicts, inputs)

    def _settle(self, verdicts: Iterable[Verdict], inputs: Inputs) -> None:
        """Executes verdicts, cancels what targets wait for, and executes the verdicts on these."""
        due = deque(verdicts)
        while due or self._risk.superseded:
            if not due:
                make_way(
                    self._risk, self._trading, inputs.market, partial(self._apply, inputs=inputs, due=due)
                )
                continue
            verdict = due.popleft()
            self.tally.count(verdict)
            if isinstance(verdict, Approved):
                self._execute(verdict, inputs, due)

    def _execute(self, verdict: Approved, inputs: Inputs, due: deque[Verdict]) -> None:
        """Executes an approved signal until its order ends or is held; adds the verdicts that follow to `due`."""
        self.tally.orders += 1
        if verdict.protection is None and not self._trading.protections.records:
            self._apply(self._trading.execute(verdict, inputs.market), inputs, due)
            return
        for updates in self._trading.executed(verdict, inputs.market):
            self._apply_protected(updates, inputs, due)

    def _apply(self, updates: Sequence[OrderUpdate], inputs: Inputs, due: deque[Verdict]) -> None:
        """Books an order's updates and shows them to strategies and risk; adds the verdicts that follow to `due`."""
        for update in updates:
            if isinstance(update, Filled):
                self._book_fill(update)
            if self._has_position_readers:
                self._host.on_order(update.order)
        last = updates[-1]
        for update in updates:
            if isinstance(update, Filled):
                due.extend(self._risk.on_order(update.order, inputs, update.fill))
            elif update is last:
                # Risk needs only fills and the last update; earlier ones contain nothing that these don't.
                due.extend(self._risk.on_order(update.order, inputs, None, rejection_of(update)))

    def _book_fill(self, filled: Filled) -> None:
        if (booking := self.books[filled.order.key.account].apply(filled)) is None:
            return
        self.tally.fills += 1
        self.tracker.booked(booking)
        if self._on_fill is not None:
            self._on_fill(booking.as_booked, booking.realised)

    def _tokens(self, states: Iterable[PositionState]) -> list[int]:
        instruments = (self._instruments.by_id(state.key.instrument_id) for state in states)
        return [instrument.instrument_token for instrument in instruments if instrument is not None]

    def _inputs_at(self, tokens: Sequence[int], market_time: datetime, feed_run: str) -> Inputs:
        """The inputs of a decision: the prices of these tokens, and of what is held where a limit needs it."""
        if self._account_wide:
            tokens = [*tokens, *self._tokens(one for one in self._risk.positions.values() if one.quantity)]
        return self._inputs(self._prices.view(tokens, market_time, feed_run))

    def _inputs(self, market: MarketView) -> Inputs:
        return Inputs(
            market,
            self._instruments,
            self._calendar,
            self._limits,
            self._active,
            self._strategy_statuses,
            (),
            self._scoped,
            funds=self._funds,
            venue=self._venue,
        )
