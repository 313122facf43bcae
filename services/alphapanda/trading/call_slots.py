"""Slots for broker calls, and orders that are held for a call."""

from __future__ import annotations

import asyncio
from typing import Final

CALLS_AT_ONCE: Final = 10
"""A broker's calls under way at once: this many for entries and as many for exits, so that entries never delay exits.
A slot is taken before SUBMITTING is committed, so the call begins right after the commit. Both together equal the paper
exchange's default connections for a broker, so no call waits for a connection while its timeout runs."""


class Slots(asyncio.Semaphore):
    """Slots for calls."""

    @property
    def free(self) -> int:
        """Number of calls that may begin at once."""
        return self._value


class CallSlots:
    """The slots of one broker: no other broker's calls take them."""

    def __init__(self) -> None:
        self.entries = Slots(CALLS_AT_ONCE)
        self.exits = Slots(CALLS_AT_ONCE)


class HeldOrder:
    """An order's lock together with a slot for its broker call; each is released once."""

    def __init__(self, lock: asyncio.Lock, slots: asyncio.Semaphore) -> None:
        self._lock: asyncio.Lock | None = lock
        self._slots: asyncio.Semaphore | None = slots

    def release_slot(self) -> None:
        """Releases the call slot: the call is over, or none is made."""
        if self._slots is not None:
            self._slots.release()
            self._slots = None

    def release(self) -> None:
        """Releases the slot and the lock: other tasks may drive the order."""
        self.release_slot()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
