"""One host for the strategies of many sets: bars and batches are made once, and each set's replay gets its own signals."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from alphapanda.domain.calendar import CalendarNotCovered
from alphapanda.domain.frame import Frame
from alphapanda.domain.frame_batch import FrameBatch, OutOfOrder
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.strategy.core.config import StrategyConfig
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.watching import StrategyFailure


class SharedStrategies:
    """The strategies of several sets; none reads its position.

    Args:
        host: it has them all, each under a name of its own.
        names: by that name, the name that the strategy has in its set.
    """

    def __init__(self, host: StrategyHost, names: Mapping[str, str]) -> None:
        self._host = host
        self._market_time_ns = 0
        self.sets = {shared: SetSignals(host, shared, name) for shared, name in names.items()}

    def decide(self, frames: Sequence[Frame]) -> FrameBatch | None:
        """Shows frames to the strategies; every set then has its signals.

        Returns:
            The frames joined; None if they have to be handled one by one.
        """
        for each in self.sets.values():
            each.forget()
        try:
            batch = FrameBatch(frames)
        except OutOfOrder:
            self._one_by_one(frames)
            return None
        begins_ns, ends_ns = batch.market_time_ns[0], batch.market_time_ns[-1]
        targets = self._host.on_batch(batch) if begins_ns >= self._market_time_ns else None
        self._market_time_ns = max(self._market_time_ns, ends_ns)
        if targets is None:
            self._one_by_one(frames)
            return batch
        at, ends = 0, batch.ends
        while at < len(targets):
            number = bisect_right(ends, targets[at].tick)
            here = at
            while at < len(targets) and targets[at].tick < ends[number]:
                at += 1
            self._give(
                frames[number], number, self._host.signals_of(targets[here:at], frames[number], ends[number])
            )
        return batch

    def _one_by_one(self, frames: Sequence[Frame]) -> None:
        on_frame = self._host.on_frame
        for number, frame in enumerate(frames):
            signals = on_frame(frame)
            if signals:
                self._give(frame, number, signals)

    def _give(self, frame: Frame, number: int, signals: Iterable[Signal]) -> None:
        for signal in signals:
            self.sets[signal.key.strategy_id].take(frame, number, signal)


class Decided(NamedTuple):
    """A set's signals at a frame; `tick` is the frame's last one."""

    tick: int
    signals: list[Signal]


class SetSignals:
    """Stands in for the strategies of one set: it has the signals that the shared host has made.

    Args:
        host: the shared host.
        shared: the strategy's name there.
        name: its name in the set.
    """

    def __init__(self, host: StrategyHost, shared: str, name: str) -> None:
        self._host = host
        self._shared = shared
        self._name = name
        self._keys: dict[PositionKey, PositionKey] = {}
        self._by_frame: dict[int, list[Signal]] = {}
        self._numbers: dict[int, int] = {}
        self._failures: list[StrategyFailure] = []

    def forget(self) -> None:
        """Drops the signals of the last frames."""
        self._by_frame = {}
        self._numbers = {}

    def take(self, frame: Frame, number: int, signal: Signal) -> None:
        """Takes a signal of the shared host, under the strategy's name in the set.

        Args:
            frame: the frame that made it.
            number: of the frame among those that are decided at once.
            signal: the signal.
        """
        key = self._keys.get(signal.key)
        if key is None:
            of = signal.key
            key = PositionKey(of.broker, of.account, self._name, of.instrument_id, of.product)
            self._keys[of] = key
        self._by_frame.setdefault(id(frame), []).append(replace(signal, key=key))
        self._numbers[number] = id(frame)

    @property
    def unserved(self) -> Mapping[str, tuple[str, str]]:
        """The strategy, where its interval can't be made from the bars: interval and why."""
        found = self._host.unserved.get(self._shared)
        return {} if found is None else {self._name: found}

    @property
    def not_covered(self) -> CalendarNotCovered | None:
        """The error of the first day with ticks that the calendar doesn't cover."""
        return self._host.not_covered

    def readers(self) -> list[StrategyConfig]:
        """No strategy reads its position."""
        return []

    def on_order(self, _order: OrderState) -> bool:
        """No strategy reads its orders."""
        return False

    def on_frame(self, frame: Frame) -> Sequence[Signal]:
        """The signals at a frame."""
        return self._by_frame.get(id(frame), ())

    def on_batch(self, batch: FrameBatch) -> list[Decided] | None:
        """The signals in a batch; None where a frame without ticks has some."""
        ends, found = batch.ends, []
        for number, frame in sorted(self._numbers.items()):
            if ends[number] == (ends[number - 1] if number else 0):
                return None
            found.append(Decided(ends[number] - 1, self._by_frame[frame]))
        return found

    def signals_of(self, targets: Iterable[Decided], _frame: Frame, _end: int) -> list[Signal]:
        """The signals at one frame."""
        return [signal for each in targets for signal in each.signals]

    def take_failures(self) -> list[StrategyFailure]:
        """The strategy's failures since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def failed(self, failures: Iterable[StrategyFailure]) -> None:
        """Adds failures of the shared host that concern this set."""
        self._failures += failures


def failures_by_set(failures: Iterable[StrategyFailure], sets: Mapping[str, SetSignals]) -> None:
    """Gives each set those failures of a shared host that concern it."""
    of_set: defaultdict[str, list[StrategyFailure]] = defaultdict(list)
    for failure in failures:
        of_set[failure.strategy_id].append(failure)
    for name, own in of_set.items():
        sets[name].failed(own)
