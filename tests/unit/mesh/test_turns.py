"""Who works next: connections in their turn, a quiet one first."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from alphapanda.mesh.errors import TooMany
from alphapanda.mesh.turns import Turns


class Works:
    """Calls that work for as long as a test lets them."""

    def __init__(self, most: int = 1, lease_seconds: float = 60, for_quiet: int = 0) -> None:
        self.turns = Turns(most, lease_seconds, 30.0, for_quiet)
        self.began: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.ends: list[asyncio.Event] = []

    async def call(self, holder: str, times: int = 1) -> None:
        for _ in range(times):
            end = asyncio.Event()
            self.ends.append(end)
            self.tasks.append(asyncio.create_task(self._work(holder, end)))
        await settle()

    async def _work(self, holder: str, end: asyncio.Event) -> None:
        async with self.turns.turn(holder):
            self.began.append(holder)
            await end.wait()

    async def end_all(self) -> None:
        for end in self.ends:
            end.set()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self.tasks)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_work_at_once_than_there_are_turns() -> None:
    """The others wait, and work when one has ended."""
    works = Works(most=2)
    await works.call("a", 3)
    assert works.began == ["a", "a"]
    works.ends[0].set()
    await settle()
    assert works.began == ["a", "a", "a"]
    await works.end_all()


async def test_a_quiet_connection_is_served_before_a_loud_one() -> None:
    """One call of a connection that had none waiting goes before all that another has waiting."""
    works = Works()
    await works.call("loud", 20)
    await works.call("quiet")
    works.ends[0].set()
    await settle()
    works.ends[1].set()
    await settle()
    assert "quiet" in works.began[:3]
    await works.end_all()
    assert len(works.began) == 21


async def test_a_quiet_connection_need_not_wait_for_the_end_of_a_loud_ones_call() -> None:
    """It has a turn beside the others, one at a time: its next call waits as all do."""
    works = Works(for_quiet=1)
    await works.call("loud", 20)
    await works.call("quiet", 2)
    assert works.began == ["loud", "quiet"]
    await works.end_all()
    assert not works.turns._loud


async def test_loud_connections_take_turns() -> None:
    """Of two that have many calls waiting, none gets two turns in a row."""
    works = Works()
    await works.call("a", 6)
    await works.call("b", 6)
    await works.end_all()
    assert all(one != other for one, other in zip(works.began[2:9], works.began[3:10], strict=True))


async def test_a_call_that_waits_for_something_gives_its_turn_on() -> None:
    """After the lease a turn goes to the next call, also when that takes longer than the lease too."""
    works = Works(lease_seconds=0.01)
    await works.call("a", 4)
    async with asyncio.timeout(10):
        while len(works.began) < 4:  # noqa: ASYNC110 - the turns tell nobody
            await asyncio.sleep(0.01)
    await works.end_all()


async def test_a_call_that_waits_too_long_is_refused() -> None:
    """It is told so while its caller still waits, and what is at work goes on."""
    turns = Turns(1, lease_seconds=60, patience_seconds=0.01)
    async with turns.turn("a"):
        with pytest.raises(TooMany, match=r"no turn within 0\.01 s"):
            async with turns.turn("b"):
                pass
    async with turns.turn("b"):
        assert not turns._waiting


async def test_a_cancelled_call_loses_no_turn() -> None:
    """One that is cancelled while it waits, or as it is given its turn, leaves the turn to the next."""
    works = Works()
    await works.call("a", 4)
    works.tasks[1].cancel()
    works.ends[0].set()
    for task in works.tasks[2:3]:
        await asyncio.sleep(0)
        task.cancel()
    await settle()
    assert works.began[-1:] == ["a"]
    for end in works.ends:
        end.set()
    await asyncio.wait(works.tasks)
    async with asyncio.timeout(1), works.turns.turn("b"):
        assert not works.turns._waiting
