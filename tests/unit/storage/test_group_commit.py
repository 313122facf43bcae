"""What is asked for together is done together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from alphapanda.storage.group_commit import GroupCommit, GroupCommits


class Work:
    """Doubles numbers; counts its transactions, and waits in each until it may go on."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.groups.append(list(items))
        await self.may_end.wait()
        if -1 in items:
            raise ValueError("an item that can't be done")
        if self.error is not None:
            raise self.error
        return [2 * item for item in items]


async def asked(group: GroupCommit[int, int], *items: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(group.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_meanwhile_goes_into_the_next() -> None:
    """The first goes alone and at once; the others wait for it, not for company, and go together, `most` at a time."""
    work = Work()
    group = GroupCommit(work, 3)
    tasks = await asked(group, 1)
    await asyncio.sleep(0)
    tasks += await asked(group, 2, 3, 4, 5)
    work.may_end.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10]
    assert work.groups == [[1], [2, 3, 4], [5]]


async def test_the_fault_of_one_is_its_own() -> None:
    """What fails by one item is done for the others, each alone; what is away fails for all and is not tried again."""
    work = Work()
    work.may_end.set()
    group = GroupCommit(work, 8)
    tasks = await asked(group, 1, -1, 3)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert (results[0], results[2]) == (2, 6)
    assert isinstance(results[1], ValueError)
    work.error, work.groups = OSError("away"), []
    tasks = await asked(group, 1, 2)
    assert all(isinstance(one, OSError) for one in await asyncio.gather(*tasks, return_exceptions=True))
    assert sorted(item for items in work.groups for item in items) == [1, 2]


async def test_who_stops_waiting_before_it_began_is_left_out() -> None:
    """A cancelled one isn't done where its transaction hasn't begun; the transaction under way goes on without its hearer."""
    work = Work()
    group = GroupCommit(work, 8)
    (first,) = await asked(group, 1)
    await asyncio.sleep(0)
    second, third = await asked(group, 2, 3)
    for task in (first, second):
        task.cancel()
    work.may_end.set()
    assert await third == 6
    assert work.groups == [[1], [3]]
    for task in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_keys_don_t_wait_for_each_other_and_are_kept_only_while_they_have_work() -> None:
    """Items of a key go together; whatever keys were asked for, none is remembered once its work is done."""
    work = Work()
    groups: GroupCommits[str, int, int] = GroupCommits(work, 3)
    first = [asyncio.create_task(groups.submit(key, item)) for key, item in zip("ab", (0, 1), strict=True)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = [asyncio.create_task(groups.submit("a", item)) for item in (2, 3)]
    await asyncio.sleep(0)
    assert (work.groups, len(groups)) == ([[0], [1]], 2)
    work.may_end.set()
    assert await asyncio.gather(*first, *later) == [0, 2, 4, 6]
    assert work.groups == [[0], [1], [2, 3]]
    await asyncio.gather(*(groups.submit(f"account {n}", n) for n in range(1000)))
    await asyncio.sleep(0)
    assert len(groups) == 0
