"""Group commit: work requested at the same time shares one transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import is_transient

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Runs work in groups: items submitted while a transaction is under way go into the next one together.

    An item submitted while nothing is under way is processed at once; it never waits for a group to fill. An item whose
    caller is cancelled before its transaction begins is dropped; after that it is processed anyway.

    Args:
        work: processes a group in one transaction; returns one result per item, in order.
        most: items in a group.
    """

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Processes an item in the next group and returns its result.

        Raises:
            what the work raises for the item.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, result))
        if self._working is None:
            self._working = loop.create_task(self._run_groups())
        return await result

    async def _run_groups(self) -> None:
        try:
            while group := self._next_group():
                await self._process(group)
        finally:
            self._working = None

    def _next_group(self) -> list[tuple[T, asyncio.Future[R]]]:
        group: list[tuple[T, asyncio.Future[R]]] = []
        while self._waiting and len(group) < self._most:
            item, result = self._waiting.popleft()
            if not result.done():
                group.append((item, result))
        return group

    async def _process(self, group: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        async def work() -> None:
            results = await self._work([item for item, _ in group])
            for (_, result), value in zip(group, results, strict=True):
                if not result.done():
                    result.set_result(value)

        error = await attempted(work())
        if error is not None and len(group) > 1 and not is_transient(error):
            for one in group:  # each alone, so that one item's error fails no other
                await self._process([one])
        elif error is not None:
            for _, result in group:
                if not result.done():
                    result.set_exception(error)


class GroupCommits(Generic[K, T, R]):
    """A group commit for each key, such as an account; keys don't wait for each other, and one without work isn't kept.

    Args:
        work: processes a group of one key in one transaction; returns one result per item, in order.
        most: items in a group.
    """

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], most: int) -> None:
        self._work = work
        self._most = most
        self._groups: WeakValueDictionary[K, GroupCommit[T, R]] = WeakValueDictionary()

    def __len__(self) -> int:
        """Number of keys with work under way."""
        return len(self._groups)

    async def submit(self, key: K, item: T) -> R:
        """Processes an item in the next group of its key and returns its result.

        Raises:
            what the work raises for the item.
        """
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = GroupCommit(self._work, self._most)
        return await group.submit(item)
