"""From a live feed's messages to frames: market time, the rules, framing. Pure, so that a recording makes the same frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.frame import SECOND_NS, Frame
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.core.data_account import DataAccount
from alphapanda.marketdata.core.framing import FrameBuilder
from alphapanda.marketdata.core.live.clock import LiveClock
from alphapanda.marketdata.core.live.columns import LiveMessage
from alphapanda.marketdata.core.live.rules import LiveRules
from alphapanda.marketdata.core.ticks import PRICE_SCALE
from alphapanda.marketdata.core.wild_prints import DEFAULT_PERCENT

HEARTBEAT_NS: Final = SECOND_NS
"""Market time after which each shard gets a frame, without ticks if need be."""


class LiveFramer:
    """Makes the frames of one run of a live feed.

    While the exchange's clock and ours are apart it makes none, so that market time becomes unknown, entries are refused and
    exits pass.

    Args:
        feed_run: name of the run.
        directory: the known instruments; it may change.
        calendar: the sessions.
        shards: number of shards.
        shard_of: returns an instrument token's shard.
        account: counts the ticks that passed and those that were dropped, by reason.
        wild_print_percent: distance from the last price from which on a price waits for a second one; 0: never.
        simulated: whether this isn't the real market: a simulated exchange, or messages of the past.
        owns_time: whether the exchange is a simulated one, whose timestamps alone are market time.
        market_time_ns: market time so far, nanoseconds since the epoch; frames don't go back behind it.

    Attributes:
        problem: why no frames are made, in one line; empty where they are.
    """

    def __init__(
        self,
        feed_run: str,
        directory: InstrumentDirectory,
        calendar: TradingCalendar,
        shards: int,
        shard_of: Callable[[int], int],
        account: DataAccount,
        wild_print_percent: float = DEFAULT_PERCENT,
        *,
        simulated: bool = False,
        owns_time: bool = False,
        market_time_ns: int = 0,
    ) -> None:
        self.problem = ""
        self._builder = FrameBuilder(feed_run, shards, shard_of, PRICE_SCALE, simulated=simulated)
        self._rules = LiveRules(directory, calendar, shard_of, account, wild_print_percent)
        self._clock = LiveClock(market_time_ns, owns_time=owns_time)
        self._heartbeat_at = 0

    @property
    def open_now(self) -> bool:
        """Whether a session of an instrument that was streamed is on."""
        return self._rules.open_at(self._clock.now_ns)

    def seen(self, token: int) -> int:
        """Market time of the last packet about an instrument, nanoseconds since the epoch; 0: none came."""
        return self._rules.table.seen(token)

    def frames(self, message: LiveMessage) -> list[Frame]:
        """The frames of a message: those of its ticks, and once a second one for every shard."""
        wall_ns = message.wall_ns
        now = self._clock.advance(wall_ns, message.newest_s, open_now=self.open_now)
        if not now:
            return []
        kept = self._rules.clean(message, now)
        apart = self._clock.apart_seconds(wall_ns)
        self.problem = _apart(apart) if apart else ""
        if apart:
            return []
        frames = self._builder.frames_of(now, kept.columns)
        if kept.ticks:
            frames += self._builder.frames(now, kept.ticks)
        if now >= self._heartbeat_at:
            self._heartbeat_at = now + HEARTBEAT_NS
            frames += self._builder.heartbeats(now, frames)
        return frames


def _apart(seconds: int) -> str:
    if seconds > 0:
        return (
            f"the exchange's timestamps are {seconds} s ahead of this machine's clock: set the clock, such as by"
            " `timedatectl set-ntp true`; until then no prices are published"
        )
    return (
        f"the newest prices are {-seconds} s old by this machine's clock: either the clock is wrong or the feed is late;"
        " until then no prices are published"
    )
