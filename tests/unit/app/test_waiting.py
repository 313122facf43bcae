"""A start's waits end, and say what they wait for."""

from __future__ import annotations

import asyncio

import pytest

from alphapanda.app import waiting
from alphapanda.app.waiting import until, within
from alphapanda.embedded.errors import StartTimedOut


async def test_a_wait_says_what_for_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes is named while it is waited for, and ends the start with its name and the time."""
    monkeypatch.setattr(waiting, "SAY_SECONDS", 0.01)
    said: list[str] = []
    with pytest.raises(StartTimedOut, match=r"waited 0.1 s for the partitions and gave up: .*doctor"):
        await within(until(lambda: False), lambda: "the partitions", 0.1, said.append)
    assert set(said) == {"still waiting for the partitions"}


async def test_what_comes_in_time_is_answered_without_a_word() -> None:
    """A part that is done in time gives its result, or its own error, and nothing is said."""
    said: list[str] = []
    assert await within(asyncio.sleep(0, "done"), lambda: "it", 1.0, said.append) == "done"
    with pytest.raises(ValueError, match="its own"):
        await within(_fails(), lambda: "it", 1.0, said.append)
    assert said == []


async def test_a_wait_that_is_cancelled_cancels_the_part() -> None:
    """Ctrl-C during a wait leaves nothing running."""
    never = asyncio.Event()
    part = asyncio.ensure_future(never.wait())
    waits = asyncio.create_task(within(part, lambda: "it", 60.0, lambda _: None))
    await asyncio.sleep(0)
    waits.cancel()
    await asyncio.wait([waits])
    assert part.cancelled()


async def _fails() -> None:
    raise ValueError("its own")
