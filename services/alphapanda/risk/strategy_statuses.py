"""The latest state of each strategy on the control topic, and the time-out for unknown revisions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final

import structlog

from alphapanda.risk.core.check import StrategyRevisionUnknown, StrategyStatus
from panda.events.v1.control_pb2 import STRATEGY_STATE_RUNNING
from panda.events.v1.events_pb2 import Event

PAYLOAD = "strategy_changed"
"""Payload of the topic that is read from its beginning, without a consumer group, before the first signal."""

MOST_WAITED_FOR: Final = 10_000
"""Revisions whose wait is remembered; beyond it the oldest begins anew if it is asked for again."""

_log = structlog.get_logger(__name__)


class StrategyStatuses:
    """The latest status of every strategy.

    Args:
        timeout_seconds: wall time to wait for a revision that isn't known yet.
        monotonic: returns seconds of a monotonic clock.
    """

    def __init__(self, timeout_seconds: float, monotonic: Callable[[], float]) -> None:
        self._timeout = timeout_seconds
        self._monotonic = monotonic
        self._known: dict[str, StrategyStatus] = {}
        self._waiting_since: dict[tuple[str, int], float] = {}
        self._timed_out: set[tuple[str, int]] = set()

    @property
    def known(self) -> Mapping[str, StrategyStatus]:
        """Statuses by strategy id; a live view."""
        return MappingProxyType(self._known)

    @property
    def timed_out(self) -> Collection[tuple[str, int]]:
        """(strategy id, revision) that didn't arrive in time."""
        return self._timed_out

    async def apply(self, event: Event) -> None:
        """Applies a StrategyChanged event; a revision that isn't newer than the known one changes nothing."""
        changed = event.strategy_changed
        known = self._known.get(changed.strategy_id)
        if known is not None and changed.revision <= known.revision:
            return
        self._known[changed.strategy_id] = StrategyStatus(
            changed.revision, changed.state == STRATEGY_STATE_RUNNING
        )
        self._forget(changed.strategy_id, changed.revision)

    def has_timed_out(self, unknown: StrategyRevisionUnknown) -> bool:
        """Whether the wait for an unknown revision has timed out; it begins with the first call."""
        asked = (unknown.strategy_id, unknown.revision)
        now = self._monotonic()
        if len(self._waiting_since) >= MOST_WAITED_FOR and asked not in self._waiting_since:
            oldest = next(iter(self._waiting_since))
            del self._waiting_since[oldest]
            self._timed_out.discard(oldest)
        if now - self._waiting_since.setdefault(asked, now) < self._timeout:
            return False
        self._timed_out.add(asked)
        _log.warning(
            "strategy.revision_timed_out",
            strategy_id=unknown.strategy_id,
            revision=unknown.revision,
        )
        return True

    def _forget(self, strategy_id: str, revision: int) -> None:
        for asked in [one for one in self._waiting_since if one[0] == strategy_id and one[1] <= revision]:
            del self._waiting_since[asked]
            self._timed_out.discard(asked)
