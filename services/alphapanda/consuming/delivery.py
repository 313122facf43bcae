"""The interface between a consumer and its handler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from alphapanda.eventlog.port import StoredRecord
from panda.events.v1.events_pb2 import Event


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event with its record: decoded, validated, and of the broker that the topic's name says."""

    event: Event
    broker: str
    record: StoredRecord


class CannotDiscard(Exception):
    """A parked record can't be discarded; the message says why."""


class Handler(Protocol):
    """Handles batches of records: of one partition, in order, all or nothing.

    `handle` returns once every effect is stored. A delivery that was handled before has no second effect. It raises
    TransientFailure (or a connection error of the database, Redis or the log) where a retry may succeed; any other
    exception is treated as a bug.
    """

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Handles the batch."""
