"""Stores the shipped instruments in the registry."""

from __future__ import annotations

from datetime import date

from alphapanda.instruments.core import shipped_instruments
from alphapanda.instruments.store.port import InstrumentStore


async def load_shipped_instruments(store: InstrumentStore, day: date) -> int:
    """Stores the shipped instruments as of a day and returns their number; repeating it changes nothing."""
    instruments = list(shipped_instruments(day))
    await store.upsert(instruments, day)
    return len(instruments)
