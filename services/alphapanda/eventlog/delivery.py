"""What a consumer hands to its handler, and how a handler says that it failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from alphapanda.eventlog.port import StoredRecord
from panda.events.v1.events_pb2 import Event


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event as it came: decoded, validated, its broker in agreement with the topic's name."""

    event: Event
    broker: str
    record: StoredRecord


class TransientFailure(Exception):
    """Something needed is away for now; the same batch may succeed later. Raise it from the cause.

    Args:
        text: one line.
        dependency: what is away, such as "broker"; empty where it isn't known, or where the cause tells.
    """

    def __init__(self, text: str, dependency: str = "") -> None:
        self.dependency = dependency
        super().__init__(text)


class CannotDiscard(Exception):
    """A parked record that can't be ended by discarding it; the message says why."""


class Handler(Protocol):
    """What a service does with a batch of one partition, in order, all or nothing.

    It returns once every effect is stored; a delivery seen before has no second effect. It raises TransientFailure
    (or a connection error of the database, Redis or the log) where waiting helps; anything else is taken for a bug.
    """

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Handles the batch."""
