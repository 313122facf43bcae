"""Makes the signals of strategies' targets, and limits how many there are in a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from alphapanda.domain import ids
from alphapanda.domain.frame import Frame, instant
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.signal import Signal
from alphapanda.domain.terms import AT_MARKET, Protection, Terms
from alphapanda.strategy.core.bar_watch import BarTarget
from alphapanda.strategy.core.failures import Failures
from alphapanda.strategy.core.strategy import Target
from alphapanda.strategy.core.watching import Watcher

MAX_REASON = 500
_MINUTE_NS: Final = 60_000_000_000
_IST: Final = ZoneInfo("Asia/Kolkata")


class SignalMaking:
    """Turns a target into signals, one for each broker of the strategy.

    Args:
        directory: the instruments, whose price grids the targets' prices are on.
        failures: stops strategies that make too many signals.
        max_signals_per_minute: maximum number of targets of a strategy on one instrument in a minute of market time; one
            more stops it. None: no limit.

    Attributes:
        made: signals made, by strategy.
    """

    def __init__(
        self, directory: InstrumentDirectory, failures: Failures, max_signals_per_minute: int | None
    ) -> None:
        self._directory = directory
        self._failures = failures
        self._max_signals = max_signals_per_minute
        self.made: Counter[str] = Counter()

    def of_target(
        self,
        watcher: Watcher,
        target: Target,
        frame: Frame,
        ordinal: int,
        n: int,
        time_ns: int,
        price: int,
        session_close: datetime | None,
    ) -> list[Signal]:
        """The signals of a strategy's target; none if it is one too many.

        Args:
            watcher: the strategy on the instrument.
            target: its target.
            frame: the frame that caused it.
            ordinal: number of the tick in the frame; one that no tick caused has a number after the ticks.
            n: tells targets at one tick apart.
            time_ns: market time of the target, nanoseconds since the epoch.
            price: the price at which it was made, in units of the frame.
            session_close: the signals' validity ends at it; None if they are made outside of sessions.
        """
        running = watcher.running
        config = running.config
        if self._max_signals is not None and self._exceeds_signal_limit(
            watcher, time_ns // _MINUTE_NS, self._max_signals
        ):
            return []
        frame_id = frame.frame_id
        market_time = instant(time_ns)
        valid_until = market_time + running.ttl
        if session_close is not None and session_close < valid_until:
            valid_until = session_close
        self.made[config.strategy_id] += len(running.brokers)
        token, target_position = (
            watcher.instrument.instrument_token,
            max(running.min_quantity, target.stance * running.quantity),
        )
        reference_price, reason = Decimal(price) / frame.price_scale, target.reason[:MAX_REASON]
        terms, protection = AT_MARKET, None
        if target.at is not None or target.protect is not None:
            terms, protection = self._priced(watcher, target, market_time)
        return [
            Signal(
                ids.signal_id(config.strategy_id, config.revision, frame_id, ordinal, n, key.broker),
                frame_id,
                frame_id,
                key,
                token,
                config.revision,
                target_position,
                None,
                None,
                terms,
                market_time,
                valid_until,
                reference_price,
                reason,
                config.size,
                protection,
            )
            for key in watcher.keys
        ]

    def of_bars(
        self,
        targets: Sequence[BarTarget[Watcher]],
        frame: Frame,
        ordinal: int,
        n: int,
        time_ns: int,
    ) -> list[Signal]:
        """The signals of targets on bars; those of one strategy are numbered from `n`.

        Args:
            targets: the strategies' targets.
            frame: the frame that closed the bars.
            ordinal: number of the tick in the frame that closed them; the number of its ticks if none did.
            n: the first number.
            time_ns: market time of the targets, nanoseconds since the epoch.
        """
        signals: list[Signal] = []
        made: Counter[str] = Counter()
        for watcher, target, price in targets:
            strategy_id = watcher.running.config.strategy_id
            units = round(price * frame.price_scale)
            signals += self.of_target(
                watcher, target, frame, ordinal, n + made[strategy_id], time_ns, units, watcher.window.close
            )
            made[strategy_id] += 1
        return signals

    def _priced(
        self, watcher: Watcher, target: Target, market_time: datetime
    ) -> tuple[Terms, Protection | None]:
        """The terms and the protection of a target, on the price grid of the day."""
        instrument = self._directory.by_id(watcher.instrument.instrument_id)
        if instrument is None:
            raise LookupError(f"a strategy watches {watcher.instrument.instrument_id}, which isn't known")
        day = market_time.astimezone(_IST).date()
        at, protect = target.at, target.protect
        return (
            AT_MARKET if at is None else at.terms(instrument, day),
            None if protect is None else protect.protection(instrument, day),
        )

    def _exceeds_signal_limit(self, watcher: Watcher, minute: int, most: int) -> bool:
        """Counts a target; stops the strategy if it is one too many in a minute of market time."""
        if watcher.running.stopped:
            return True
        if minute != watcher.minute:
            watcher.minute, watcher.made = minute, 0
        watcher.made += 1
        if watcher.made <= most:
            return False
        self._failures.note(watcher, f"more than {most} signals in a minute of market time", 0, stops=True)
        return True
