"""Speeds of a feed, in market seconds a wall second."""

from __future__ import annotations

import math
from typing import Final

REAL: Final = 1.0
MAX: Final = math.inf
MISSED: Final = 0.9
"""Share of its speed below which a feed misses its pace."""
