"""A step of a story: something that happened, and what followed from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

GOOD: Final = "green"
BAD: Final = "red"
WAITS: Final = "yellow"
QUIET: Final = "dim"


@dataclass(slots=True)
class Step:
    """Something that happened, and what followed from it.

    Attributes:
        kind: "frame", "command", "signal", "verdict", "order", "call", "event", "fill", "ledger", "snapshot" or
            "dead letter".
        text: what happened, one line.
        at: wall time; None where only its place in the chain is known.
        style: GOOD, BAD, WAITS, QUIET, or empty.
        ids: ids by name.
        steps: what followed, in order.
    """

    kind: str
    text: str
    at: datetime | None = None
    style: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def every(self) -> Iterator[Step]:
        """This step and all that followed."""
        yield self
        for step in self.steps:
            yield from step.every()

    @property
    def ended(self) -> datetime | None:
        """Wall time of the last of them; None where no time is known."""
        return max((step.at for step in self.every() if step.at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Story:
    """A chain of events as a tree.

    Attributes:
        correlation_id: its id, a UUID.
        root: its cause; what followed is below.
        others: signals of the chain that are left out, because another one was asked for.
    """

    correlation_id: str
    root: Step
    others: int = 0
