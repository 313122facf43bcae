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


class CannotDiscard(Exception):
    """A parked record that can't be ended by discarding it; the message says why."""


class Handler(Protocol):
    """What a service does with a batch of one partition, in order, all or nothing.

    It returns once every effect is stored; a delivery seen before has no second effect. It raises TransientFailure
    (or a connection error of the database, Redis or the log) where waiting helps; anything else is taken for a bug.
    """

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Handles the batch."""
