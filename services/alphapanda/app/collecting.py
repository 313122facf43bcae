"""How often Python looks for circular garbage in a process that runs for long or over much data."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000
"""New objects after which the youngest are looked through; Python's own 700 takes time for nothing, because what an order or a tick
makes dies by its reference counts."""


def collect_less() -> None:
    """Takes what there is now for lasting, and looks less often from now on.

    What a start builds stays: looking through all of it again would stop everything for a seventh of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
