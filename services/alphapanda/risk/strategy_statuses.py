"""The latest state of each strategy on the control topic, and how long an unknown revision is waited for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

import structlog

from alphapanda.risk.core.check import StrategyRevisionUnknown, StrategyStatus
from panda.events.v1.control_pb2 import STRATEGY_STATE_RUNNING
from panda.events.v1.events_pb2 import Event

PAYLOAD = "strategy_changed"
"""The payload of the topic to be followed, whole and without a group, from before the first signal on."""

_log = structlog.get_logger(__name__)


class StrategyStatuses:
    """The latest status of every strategy.

    Args:
        timeout_seconds: wall time for which a revision that isn't known yet is waited for.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(self, timeout_seconds: float, monotonic: Callable[[], float]) -> None:
        self._timeout = timeout_seconds
        self._monotonic = monotonic
        self._known: dict[str, StrategyStatus] = {}
        self._asked_first: dict[tuple[str, int], float] = {}
        self._given_up: set[tuple[str, int]] = set()

    @property
    def known(self) -> Mapping[str, StrategyStatus]:
        """By strategy id; a view that stays current."""
        return MappingProxyType(self._known)

    @property
    def given_up(self) -> Collection[tuple[str, int]]:
        """(strategy id, revision) that did not arrive in time."""
        return self._given_up

    async def apply(self, event: Event) -> None:
        """Applies a StrategyChanged. An older revision than the one known changes nothing."""
        changed = event.strategy_changed
        known = self._known.get(changed.strategy_id)
        if known is not None and changed.revision <= known.revision:
            return
        self._known[changed.strategy_id] = StrategyStatus(
            changed.revision, changed.state == STRATEGY_STATE_RUNNING
        )
        self._forget(changed.strategy_id, changed.revision)

    def is_given_up(self, unknown: StrategyRevisionUnknown) -> bool:
        """Whether an unknown revision was waited for long enough; the waiting begins with the first question."""
        asked = (unknown.strategy_id, unknown.revision)
        now = self._monotonic()
        if now - self._asked_first.setdefault(asked, now) < self._timeout:
            return False
        self._given_up.add(asked)
        _log.warning(
            "strategy.revision_given_up",
            strategy_id=unknown.strategy_id,
            revision=unknown.revision,
        )
        return True

    def _forget(self, strategy_id: str, revision: int) -> None:
        for asked in [one for one in self._asked_first if one[0] == strategy_id and one[1] <= revision]:
            del self._asked_first[asked]
            self._given_up.discard(asked)
