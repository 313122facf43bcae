"""The loop: what the services do between their topics, as plain calls in the order that lockstep gives."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from decimal import Decimal
from itertools import islice
from typing import Final

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.frame import Frame, instant, nanoseconds
from alphapanda.domain.frame_batch import FrameBatch, OutOfOrder
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import Product, TradingState
from alphapanda.domain.order_events import Filled
from alphapanda.domain.signal import Signal
from alphapanda.domain.verdict import Approved, Refused, Verdict
from alphapanda.portfolio.core.book import PortfolioBook
from alphapanda.portfolio.core.drawdown import EquityTracker
from alphapanda.portfolio.core.profit import Statement
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs, StrategyStatus
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.named_limits import ACCOUNT_WIDE, COUNTED
from alphapanda.risk.core.position import PositionState
from alphapanda.risk.core.scoped_limits import NOTHING_SET, ScopedLimits
from alphapanda.risk.core.square_off import earliest_cut_off
from alphapanda.strategy.core.batch_targets import BatchTarget
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.watching import StrategyFailure
from alphapanda.trading.core.synchronous import SynchronousTrading

BATCH: Final = 1024
"""Most frames that strategies are asked about at once: few enough for a processor's cache."""
DAY_NS: Final = 86_400_000_000_000
IST_NS: Final = 19_800_000_000_000


@dataclass(slots=True)
class Tally:
    """What happened, counted."""

    signals: int = 0
    validated: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    fills: int = 0


class SquareOffWatch:
    """Says when risk has to be asked for square-offs, so that it isn't asked on every tick.

    The answer can only change at the day's first cut-off, or while an intraday position is still there after it or
    from a day before.
    """

    def __init__(self, calendar: TradingCalendar, cut_off: time) -> None:
        self._calendar = calendar
        self._cut_off = cut_off
        self.next_ns = 0

    def asked(self, market_time_ns: int, *, intraday_open: bool) -> None:
        """Risk was asked at this market time; `intraday_open` is whether a MIS position is left."""
        if intraday_open:
            self.next_ns = market_time_ns
            return
        cut_off = earliest_cut_off(instant(market_time_ns), self._calendar, self._cut_off)
        tomorrow = (market_time_ns + IST_NS) // DAY_NS * DAY_NS + DAY_NS - IST_NS
        at = nanoseconds(cut_off) if cut_off is not None else tomorrow
        self.next_ns = at if market_time_ns < at else tomorrow


class Replay:
    """One account's whole flow.

    Args:
        host: the strategies, configured.
        trading: paper exchanges in memory.
        book: the account, just opened.
        instruments: what can be traded.
        calendar: sessions.
        limits: of the account.
        strategy_statuses: of the strategies, all running.
        brokers: whose positions are squared off.
        price_scale: of the frames.
        on_fill: told of every fill as booked; None where nobody listens.
        scoped: limits of the account, its strategies and instruments, over `limits`.
    """

    def __init__(
        self,
        *,
        host: StrategyHost,
        trading: SynchronousTrading,
        book: PortfolioBook,
        instruments: InstrumentDirectory,
        calendar: TradingCalendar,
        limits: Limits,
        strategy_statuses: Mapping[str, StrategyStatus],
        brokers: Sequence[str],
        price_scale: int,
        on_fill: Callable[[Filled, Decimal], None] | None = None,
        scoped: ScopedLimits = NOTHING_SET,
    ) -> None:
        self._host = host
        self._risk = RiskBook(keeps_accounts=scoped.may_set(COUNTED, limits))
        self._trading = trading
        self._book = book
        self._instruments = instruments
        self._calendar = calendar
        self._limits = limits
        self._scoped = scoped
        self._account_wide = scoped.may_set(ACCOUNT_WIDE, limits)
        self._strategy_statuses = strategy_statuses
        self._brokers = tuple(brokers)
        self._scale = price_scale
        self._on_fill = on_fill
        self._tells_strategies = bool(host.readers())
        self._last: dict[int, tuple[int, int]] = {}
        self._market_time_ns = 0
        self._watch = SquareOffWatch(calendar, limits.mis_cut_off)
        self.tracker = EquityTracker(book.starting_cash, price_scale)
        self.tally = Tally()

    def run(self, frames: Iterable[Frame], *, one_by_one: bool = False) -> None:
        """Takes the frames in, to the last: prices, then timers, then strategies, frame by frame as in lockstep.

        Strategies that take many ticks at once are asked about thousands of frames ahead; what they target is then
        executed at its frame, so the result is the same.

        Args:
            frames: in their order.
            one_by_one: takes up a frame only when all before it have had their effects, for whoever watches.
        """
        if one_by_one:
            self._one_by_one(frames)
            return
        ahead = iter(frames)
        while many := list(islice(ahead, BATCH)):
            try:
                batch = FrameBatch(many)
            except OutOfOrder:
                self._one_by_one(many)
                continue
            asked = self._host.on_batch(batch) if batch.market_time_ns[0] >= self._market_time_ns else None
            if asked is None:
                self._one_by_one(many)
            else:
                self._batch(batch, asked)

    def _batch(self, batch: FrameBatch, asked: Sequence[BatchTarget]) -> None:
        """Goes from frame to frame in which something happens: a target, or the moment to ask for square-offs."""
        frames, times, ends = batch.frames, batch.market_time_ns, batch.ends
        wishes = deque(asked)
        wished = bisect_right(ends, wishes[0].tick) if wishes else len(frames)
        position = 0
        while position < len(frames):
            due = bisect_left(times, max(self._watch.next_ns, self._market_time_ns + 1), position)
            stop = min(wished, due)
            if stop == len(frames):
                break
            self._marked(batch, position, stop)
            position = stop + 1
            frame = frames[stop]
            if stop == due:
                self._square_off(times[stop], frame.frame_id)
            if stop == wished:
                of_frame = []
                while wishes and wishes[0].tick < ends[stop]:
                    of_frame.append(wishes.popleft())
                signals = self._host.signals_of(of_frame, frame, ends[stop])
                if signals:
                    self._decide(signals, frame.market_time, frame.feed_run)
                wished = bisect_right(ends, wishes[0].tick, position) if wishes else len(frames)
        if position < len(frames):
            self._marked(batch, position, len(frames) - 1)

    def _marked(self, batch: FrameBatch, first: int, last: int) -> None:
        """Takes the prices of these frames."""
        begin = batch.ends[first - 1] if first else 0
        end = batch.ends[last]
        prices = batch.last_price[begin:end]
        token = batch.only_token
        if token is not None and prices:
            self._last[token] = (prices[-1], batch.exchange_time[end - 1])
            self.tracker.marks_of(token, prices)
        else:
            tokens, times = batch.instrument_token[begin:end], batch.exchange_time[begin:end]
            self._last.update(zip(tokens, zip(prices, times, strict=True), strict=True))
            for each, price in zip(tokens, prices, strict=True):
                self.tracker.mark(each, price)
        self._market_time_ns = batch.market_time_ns[last]

    def _one_by_one(self, frames: Iterable[Frame]) -> None:
        last, mark, on_frame = self._last, self.tracker.mark, self._host.on_frame
        market_time_ns = self._market_time_ns
        for frame in frames:
            prices, times = frame.last_price, frame.exchange_time
            for ordinal, token in enumerate(frame.instrument_token):
                price = prices[ordinal]
                last[token] = (price, times[ordinal])
                mark(token, price)
            if frame.market_time_ns > market_time_ns:
                market_time_ns = self._market_time_ns = frame.market_time_ns
                if market_time_ns >= self._watch.next_ns:
                    self._square_off(market_time_ns, frame.frame_id)
            signals = on_frame(frame)
            if signals:
                self._decide(signals, frame.market_time, frame.feed_run)

    @property
    def starting_cash(self) -> Decimal:
        """Rupees the account began with."""
        return self._book.starting_cash

    @property
    def not_covered(self) -> CalendarNotCovered | None:
        """The first day with ticks that the calendar has no data for: strategies saw none of them."""
        return self._host.not_covered

    def strategy_failures(self) -> list[str]:
        """What strategies raised, a line for each strategy: how often, the last error, whether it was stopped."""
        raised: dict[str, list[StrategyFailure]] = {}
        for failure in self._host.take_failures():
            raised.setdefault(failure.strategy_id, []).append(failure)
        return [
            f"strategy {name} was stopped: {failures[-1].why}"
            if failures[-1].stopped
            else f"strategy {name} raised {len(failures)} times, last on {failures[-1].instrument_id}: {failures[-1].error}"
            for name, failures in sorted(raised.items())
        ]

    def statement(self) -> Statement:
        """Value and profit at the last prices."""
        prices = {}
        for token, (price, _) in self._last.items():
            instrument = self._instruments.by_token(token)
            if instrument is not None:
                prices[instrument.instrument_id] = Decimal(price) / self._scale
        return self._book.statement(prices)

    def _square_off(self, market_time_ns: int, cause: str) -> None:
        open_keys = [state for state in self._risk.positions.values() if state.quantity]
        intraday = [state for state in open_keys if state.key.product is Product.MIS]
        if intraday:
            measured = open_keys if self._account_wide else intraday
            market = self._view(self._tokens(measured), instant(market_time_ns), "")
            inputs = self._inputs(market)
            for signal in self._risk.due(inputs, self._brokers, cause):
                self.tally.signals += 1
                self._settle(self._risk.judge(signal, inputs), inputs)
            intraday = [
                s for s in self._risk.positions.values() if s.quantity and s.key.product is Product.MIS
            ]
        self._watch.asked(market_time_ns, intraday_open=bool(intraday))

    def _decide(self, signals: Sequence[Signal], market_time: datetime, feed_run: str) -> None:
        tokens = [signal.instrument_token for signal in signals]
        if self._account_wide:
            tokens += self._tokens(state for state in self._risk.positions.values() if state.quantity)
        inputs = self._inputs(self._view(tokens, market_time, feed_run))
        for signal in signals:
            self.tally.signals += 1
            self._settle(self._risk.judge(signal, inputs), inputs)

    def _settle(self, verdicts: Sequence[Verdict], inputs: Inputs) -> None:
        """Takes verdicts to their end: order, fills, ledger, and what waited for the order."""
        tally = self.tally
        due = deque(verdicts)
        while due:
            verdict = due.popleft()
            if isinstance(verdict, Refused):
                tally.rejected[verdict.reason] += 1
                continue
            tally.validated += 1
            self._execute(verdict, inputs, due)

    def _execute(self, verdict: Approved, inputs: Inputs, due: deque[Verdict]) -> None:
        """Takes an approved signal to its order's end; the verdicts that follow are `due`."""
        updates = self._trading.execute(verdict, inputs.market)
        self.tally.orders += 1
        for update in updates:
            if isinstance(update, Filled):
                self._booked(update)
            if self._tells_strategies:
                self._host.on_order(update.order)
        last = updates[-1]
        for update in updates:
            if isinstance(update, Filled):
                due.extend(self._risk.on_order(update.order, inputs, update.fill))
            elif update is last:
                # What comes before a fill or the end tells risk nothing that they don't.
                due.extend(self._risk.on_order(update.order, inputs))

    def _booked(self, filled: Filled) -> None:
        booking = self._book.apply(filled)
        if booking is None:
            return
        self.tally.fills += 1
        self.tracker.booked(booking)
        if self._on_fill is not None:
            self._on_fill(filled, booking.realised)

    def _view(self, tokens: Sequence[int], market_time: datetime, feed_run: str) -> MarketView:
        prices = {}
        for token in tokens:
            if token in self._last:
                price, at = self._last[token]
                prices[token] = LastPrice(Decimal(price) / self._scale, instant(at))
        return MarketView(market_time, feed_run, prices)

    def _tokens(self, states: Iterable[PositionState]) -> list[int]:
        instruments = (self._instruments.by_id(state.key.instrument_id) for state in states)
        return [instrument.instrument_token for instrument in instruments if instrument is not None]

    def _inputs(self, market: MarketView) -> Inputs:
        return Inputs(
            market,
            self._instruments,
            self._calendar,
            self._limits,
            TradingState.ACTIVE,
            self._strategy_statuses,
            (),
            self._scoped,
        )
