"""The room, which the tests share with the process that they kill."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from trading_room import Room, open_room


@pytest.fixture
def opened(tables: str, redis_url: str) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Opens a room on the test's database and Redis; as often as wanted."""
    return partial(open_room, tables, redis_url)


@pytest.fixture
async def room(opened: Callable[..., AbstractAsyncContextManager[Room]]) -> AsyncIterator[Room]:
    """A room open for trading."""
    async with opened() as made:
        await made.open_for_trading()
        yield made
