"""One transaction for what many ask for at the same time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import is_transient

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """What is asked for while a transaction is under way goes into the next one, together.

    Nobody waits for company: what is asked for alone is done at once. Whoever stops waiting before its transaction has
    begun isn't in it; after that it is done all the same.

    Args:
        work: does it for some at once, in one transaction; returns a result for each, in order.
        most: at once.
    """

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def ask(self, item: T) -> R:
        """The result of one.

        Raises:
            what the work raises for it.
        """
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, asked))
        if self._working is None:
            self._working = loop.create_task(self._until_nobody_waits())
        return await asked

    async def _until_nobody_waits(self) -> None:
        try:
            while group := self._next():
                await self._settle(group)
        finally:
            self._working = None

    def _next(self) -> list[tuple[T, asyncio.Future[R]]]:
        group: list[tuple[T, asyncio.Future[R]]] = []
        while self._waiting and len(group) < self._most:
            item, asked = self._waiting.popleft()
            if not asked.done():
                group.append((item, asked))
        return group

    async def _settle(self, group: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        async def work() -> None:
            results = await self._work([item for item, _ in group])
            for (_, asked), result in zip(group, results, strict=True):
                if not asked.done():
                    asked.set_result(result)

        error = await attempted(work())
        if error is not None and len(group) > 1 and not is_transient(error):
            for one in group:  # the fault of one keeps no other from its result
                await self._settle([one])
        elif error is not None:
            for _, asked in group:
                if not asked.done():
                    asked.set_exception(error)
