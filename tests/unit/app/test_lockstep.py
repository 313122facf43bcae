"""The barrier of lockstep: what it asks, and when."""

from __future__ import annotations

from typing import Any, cast

import pytest

from alphapanda.app.lockstep import Barrier
from alphapanda.app.process import Room


class Platform:
    """A room, its database and its orders. `asked` names what was asked of the database, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.activity = 0
        self.transactions = 0
        self.lagging = 0
        self.under_way = 0

    async def mark(self) -> int:
        self.asked.append("mark")
        return self.transactions

    async def has_orders_under_way(self) -> bool:
        self.asked.append("orders")
        self.under_way -= 1
        return self.under_way >= 0

    async def settled(self) -> bool:
        self.lagging -= 1
        return self.lagging < 0


@pytest.fixture
def platform() -> Platform:
    """A platform at rest."""
    return Platform()


@pytest.fixture
def barrier(platform) -> Barrier:
    """Its barrier."""

    class OneRoom:
        followers = consumers = (platform,)
        relay = None
        busy = bool

    return Barrier([cast("Room", OneRoom)], cast("Any", platform), cast("Any", platform))


async def test_a_quiet_platform_is_not_asked_again(platform, barrier) -> None:
    """The first time the tables are asked; without anything done in the database since then nothing is; after reads only the mark."""
    await barrier()
    assert platform.asked == ["mark", "orders", "mark"]
    await barrier()
    assert platform.asked == ["mark", "orders", "mark"]
    platform.activity += 2
    await barrier()
    await barrier()
    assert platform.asked == ["mark", "orders", "mark", "mark"]


async def test_a_write_is_followed_by_a_look_at_the_orders(platform, barrier) -> None:
    """After a write the barrier waits until no order is under way."""
    await barrier()
    platform.asked.clear()
    platform.activity, platform.transactions, platform.under_way = 2, 1, 2
    await barrier()
    assert platform.asked.count("orders") == 3


async def test_something_that_begins_while_the_mark_is_asked_is_not_overlooked(platform, barrier) -> None:
    """What counts is the activity before the look, so what runs beside it leads to a look the next time."""
    await barrier()
    platform.asked.clear()
    platform.activity = 1

    async def mark() -> int:
        platform.asked.append("mark")
        platform.activity = 2
        return 0

    platform.mark = mark
    await barrier()
    await barrier()
    assert platform.asked == ["mark", "mark"]


async def test_records_to_be_handled_come_first(platform, barrier) -> None:
    """While something on the log isn't handled the database isn't asked."""
    platform.lagging = 7
    await barrier()
    assert platform.lagging < 0
    assert platform.asked == ["mark", "orders", "mark"]
