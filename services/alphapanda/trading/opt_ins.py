"""What each strategy opted in to, as the control topic last told."""

from __future__ import annotations

from collections.abc import Collection

from panda.events.v1.events_pb2 import Event

PAYLOAD = "strategy_changed"
"""The payload of the topic to be followed, whole, from before the first signal on."""


class OptIns:
    """Brokers by strategy; the newest revision counts."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, tuple[str, ...]]] = {}

    async def learn(self, event: Event) -> None:
        """Takes a StrategyChanged in; an older revision than the one known changes nothing."""
        changed = event.strategy_changed
        if changed.revision > self._known.get(changed.strategy_id, (0, ()))[0]:
            self._known[changed.strategy_id] = (changed.revision, tuple(changed.brokers))

    def __call__(self, strategy_id: str) -> Collection[str]:
        """The brokers a strategy opted in to; none where it isn't known."""
        return self._known.get(strategy_id, (0, ()))[1]
