"""A feed that has ended is judged: where almost nothing of its data was used, that is an error, or a warning if allowed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alphapanda.app.feeding import Feeding
from alphapanda.marketdata.core.data_account import DataNotUsed


def ended(problem: str | None, *, allow_drops: bool = False) -> Feeding:
    """A feed whose publisher ends at once."""

    async def nothing() -> None:
        """Is ready, and publishes nothing."""

    publisher = cast("Any", SimpleNamespace(run=nothing, finished=asyncio.Event(), last_error=""))
    return Feeding(cast("Any", None), publisher, nothing, lambda: problem, allow_drops=allow_drops)


async def run(feeding: Feeding) -> None:
    await feeding.start()
    assert feeding.task is not None
    await feeding.task


async def test_a_feed_that_was_hardly_used_fails() -> None:
    """`up` ends with this line, and the service's status says it."""
    feeding = ended("no row lies in a session")
    with pytest.raises(DataNotUsed, match="this run is no result: no row lies in a session"):
        await run(feeding)
    assert not feeding.serving
    assert "no row lies in a session" in feeding.last_error


async def test_it_may_be_allowed() -> None:
    """Then it is said, and the services go on."""
    feeding = ended("no row lies in a session", allow_drops=True)
    await run(feeding)
    assert feeding.serving
    assert feeding.hardly_used == "no row lies in a session"


async def test_a_feed_that_was_used_ends_quietly() -> None:
    """Nothing is said."""
    feeding = ended(None)
    await run(feeding)
    assert (feeding.serving, feeding.hardly_used) == (True, "")
