"""What settings must be to one another. Told with everything else that is wrong, before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alphapanda.settings import Settings


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Settings that can't stand together.

    Attributes:
        names: the settings, such as "zerodha.enabled"; where one is wrong by itself, only that is told.
        message: what is wrong and what to do.
    """

    names: tuple[str, ...]
    message: str


def disagreements(settings: Settings) -> Iterator[Disagreement]:
    """Every pair or group that can't stand together."""
    if settings.zerodha.enabled and "zerodha" not in settings.active_brokers:
        yield Disagreement(
            ("zerodha.enabled", "active_brokers"), "zerodha.enabled needs 'zerodha' in active_brokers"
        )
