"""The limit of our side of P6: the records of the same replay made again, one by one, with nothing decided, checked or added up.

Of each order: its signal, its verdict with the result of each rule, its events with the order's state in each, its fill,
its booking with the position after it; and an id for each that has one. They are taken from a real replay, so their number and
kinds are those of the measured one. What the exchange reports and what rules compute on the way isn't among them.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple
from tests.bench import replay_side

from alphapanda.domain import ids
from alphapanda.domain.verdict import RuleResult
from alphapanda.portfolio.core.book import PortfolioBook
from alphapanda.replay.core import Replay

IDS = 5
"""An order's own: signal, order, intent's tag, fill, the exchange's trade."""


def watched(owner: type, name: str, taken: Callable[..., None]) -> None:
    """Shows what a method is given, and what it gives."""
    method = getattr(owner, name)

    def shown(self: object, *given: Any) -> Any:
        result = method(self, *given)
        taken(result, *given)
        return result

    setattr(owner, name, shown)


def parts_of(record: Struct) -> list[tuple[type, tuple[Any, ...]]]:
    """What makes a record and the records in it, the innermost first; those of other orders are not made again."""
    found: list[tuple[type, tuple[Any, ...]]] = []
    values = astuple(record)
    for value in values:
        if isinstance(value, Struct):
            found += parts_of(value)
        elif isinstance(value, tuple):
            found += [
                (RuleResult, (one.rule, one.outcome, one._limit, one._observed, one.message))
                for one in value
                if isinstance(one, RuleResult)
            ]
    return [*found, (type(record), values)]


def main() -> None:
    """Prints orders and the seconds that their records take."""
    records: list[Struct] = []
    watched(Replay, "_decide", lambda _, signals, *__: records.extend(signals))
    watched(Replay, "_execute", lambda _, verdict, *__: records.append(verdict))
    watched(Replay, "_apply", lambda _, updates, *__: records.extend(updates))
    watched(PortfolioBook, "apply", lambda booking, *_: records.append(booking))
    replay_side.main()
    made = [part for record in records for part in parts_of(record)]
    orders = sum(type(record).__name__ == "Booking" for record in records)
    records.clear()
    gc.collect()
    gc.freeze()
    began = time.perf_counter()
    for kind, values in made:
        kind(*values)
    for order in range(orders):
        for number in range(IDS):
            ids.derived_id("record", order, number)
    seconds = time.perf_counter() - began
    print(json.dumps({"orders": orders, "records": len(made), "seconds": seconds}))


if __name__ == "__main__":
    main()
