"""How a live feed and each of its instruments are, as the API tells it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from alphapanda.contract.wire import timestamp
from alphapanda.domain.frame import SECOND_NS, instant
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.feeds.live_status import FeedGap, LiveStatus
from panda.marketdata.v1 import marketdata_pb2 as api

FIRST_PACKET_SECONDS: Final = 30
"""A subscription is answered by a snapshot at once, so what has none after so long isn't streamed."""
MOST_NAMED: Final = 100
_SHOWN: Final = 5


class LiveView:
    """A live feed with the market's view of its instruments.

    Args:
        status: the feed as it is now.
        problem: why it doesn't bring all that it should; empty where it does.
        seen: returns the market time of the last packet about an instrument token, nanoseconds since the epoch; 0: none.
        directory: the known instruments.
    """

    def __init__(
        self, status: LiveStatus, problem: str, seen: Callable[[int], int], directory: InstrumentDirectory
    ) -> None:
        self._status = status
        self._problem = problem
        self._seen = seen
        self._directory = directory

    def message(self, wall_ns: int) -> api.LiveFeedStatus:
        """The feed's status at a wall time, nanoseconds since the epoch."""
        status = self._status
        return api.LiveFeedStatus(
            problem=self._problem,
            connections=[
                api.FeedConnection(
                    connection=one.number,
                    state=one.state,
                    failures=one.failures,
                    connects=one.connects,
                    last_message_at=timestamp(instant(one.last_message_ns)) if one.last_message_ns else None,
                    last_error=one.last_error,
                    instruments=one.instruments,
                )
                for one in status.connections
            ],
            gaps=[_gap(one) for one in status.gaps],
            instruments=len(status.modes),
            without_packets=self.without_packets(wall_ns)[:MOST_NAMED],
            messages_lost=status.lost,
        )

    def stream(self, token: int) -> api.InstrumentStream | None:
        """How an instrument is streamed; None where it isn't."""
        mode = self._status.modes.get(token)
        if mode is None:
            return None
        seen, connection = self._seen(token), self._status.connection_of.get(token)
        gap = next((one for one in self._status.gaps if one.connection == connection), None)
        return api.InstrumentStream(
            mode=mode,
            received_at=timestamp(instant(seen)) if seen else None,
            last_gap=None if gap is None else _gap(gap),
        )

    def without_packets(self, wall_ns: int) -> Sequence[str]:
        """Symbols of instruments that have been streamed for some time, and of which no packet came at all."""
        before = wall_ns - FIRST_PACKET_SECONDS * SECOND_NS
        found = []
        for token, since in self._status.since_ns.items():
            if since < before and not self._seen(token):
                instrument = self._directory.by_token(token)
                found.append(str(token) if instrument is None else instrument.symbol)
        return sorted(found)


def missing_packets(symbols: Sequence[str]) -> str:
    """What to tell of instruments without packets, in one line; empty where there are none."""
    if not symbols:
        return ""
    named = ", ".join(symbols[:_SHOWN]) + (
        f" and {len(symbols) - _SHOWN} more" if len(symbols) > _SHOWN else ""
    )
    return (
        f"no packet came of {named}: Kite doesn't know the token any more, or not yet;"
        " `alphapanda instruments import FILE` with today's list"
    )


def _gap(gap: FeedGap) -> api.FeedGap:
    return api.FeedGap(
        connection=gap.connection,
        began_at=timestamp(instant(gap.began_ns)),
        ended_at=timestamp(instant(gap.ended_ns)) if gap.ended_ns else None,
        instruments=gap.instruments,
    )
