"""What is reported where settings contradict each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Settings that contradict each other.

    Attributes:
        names: the settings, such as "zerodha.enabled"; where one of them is invalid, only that error is reported.
        message: what is wrong and what to do.
    """

    names: tuple[str, ...]
    message: str
