"""Which brokers get a strategy's orders: one pure function, asked when a signal is made and again before it is executed."""

from __future__ import annotations

from collections.abc import Iterable

DEFAULT_BROKER = "paper"


class ExecutionRouter:
    """Paper where it is enabled; any other broker where it is enabled and the strategy opted in.

    Args:
        enabled: brokers that are active and enabled, in the deployment's order.
    """

    def __init__(self, enabled: Iterable[str]) -> None:
        self._enabled = tuple(enabled)
        self._chosen: dict[tuple[str, ...], tuple[str, ...]] = {}

    def brokers(self, opted_in: Iterable[str]) -> tuple[str, ...]:
        """The brokers that get the signals of a strategy with these opt-ins, in the deployment's order."""
        asked = tuple(opted_in)
        chosen = self._chosen.get(asked)
        if chosen is None:
            wanted = {DEFAULT_BROKER, *asked}
            chosen = self._chosen[asked] = tuple(broker for broker in self._enabled if broker in wanted)
        return chosen

    @property
    def enabled(self) -> tuple[str, ...]:
        """Brokers orders may go to."""
        return self._enabled

    def is_enabled(self, broker: str) -> bool:
        """Whether orders may go to a broker at all; a manual order asks only this."""
        return broker in self._enabled
