"""What all peers share: the tick file, the strategy's arithmetic, and how a run is told. Plain Python, no imports of ours.

The arithmetic is alphapanda's ema_cross, so that every side flips at the same ticks; it is written out here because
a peer's own moving averages begin otherwise, and because this is faster than most of them.
"""

import gc
import json
import sys
import time
from array import array
from pathlib import Path

FAST, SLOW, QUANTITY = 10, 20, 100


class Flips:
    """Says at each price whether the side is a new one: True long, False short, None as before."""

    def __init__(self) -> None:
        self.fast = self.slow = 0.0
        self.seen = 0
        self.long = None

    def on_price(self, price: float) -> bool | None:
        """One tick, in rupees."""
        if self.seen:
            self.fast = fast = self.fast + 2.0 / (FAST + 1) * (price - self.fast)
            self.slow = slow = self.slow + 2.0 / (SLOW + 1) * (price - self.slow)
        else:
            self.fast = self.slow = fast = slow = price
        if self.seen < SLOW:
            self.seen += 1
            if self.seen < SLOW:
                return None
        side = fast > slow
        if side is self.long:
            return None
        self.long = side
        return side


def read_ticks() -> tuple[array, array]:
    """The file named on the command line: times in nanoseconds, then as many prices in paise, 64-bit integers."""
    values = array("q")
    values.frombytes(Path(sys.argv[1]).read_bytes())
    half = len(values) // 2
    return values[:half], values[half:]


def timed(run, orders) -> None:
    """Runs, and prints the number of orders (asked for afterwards) and the seconds as JSON."""
    gc.collect()
    began = time.perf_counter()
    run()
    seconds = time.perf_counter() - began
    print(json.dumps({"orders": orders(), "seconds": seconds}))
