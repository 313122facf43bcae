"""Routing: which brokers get a strategy's orders. Asked when a signal is made, and again before it is sent."""

from __future__ import annotations

from collections.abc import Iterable

DEFAULT_BROKER = "paper"


class ExecutionRouter:
    """Routes signals to the paper broker and to the brokers that the strategy opted in to, as far as they are enabled.

    Args:
        enabled: the active and enabled brokers, in the order of the settings.
    """

    def __init__(self, enabled: Iterable[str]) -> None:
        self._enabled = tuple(enabled)
        self._off: frozenset[str] = frozenset()
        self._chosen: dict[tuple[str, ...], tuple[str, ...]] = {}

    def switch_off(self, brokers: Iterable[str]) -> None:
        """Switches these brokers off and all others on; a broker that isn't enabled stays off."""
        self._off = frozenset(brokers)
        self._chosen.clear()

    def brokers(self, opted_in: Iterable[str]) -> tuple[str, ...]:
        """The brokers that get the signals of a strategy with these opt-ins, in the order of the settings."""
        asked = tuple(opted_in)
        chosen = self._chosen.get(asked)
        if chosen is None:
            wanted = {DEFAULT_BROKER, *asked} - self._off
            chosen = self._chosen[asked] = tuple(broker for broker in self._enabled if broker in wanted)
        return chosen

    @property
    def enabled(self) -> tuple[str, ...]:
        """The brokers that orders may go to by the settings, switched off or not."""
        return self._enabled

    def is_enabled(self, broker: str) -> bool:
        """Whether orders may go to a broker now; for manual orders this is the only routing check."""
        return broker in self._enabled and broker not in self._off
