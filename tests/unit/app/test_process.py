"""A process ends in order and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from alphapanda.app import bound, process
from alphapanda.app.process import Lifecycle, Phase, Process, Room
from alphapanda.ops.core import ServiceState

HUNG = 3600.0


class Diary:
    """What started and ended, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def part(self, name: str, seconds: float = 0.0, fails: bool = False) -> Part:
        return Part(self, name, seconds, fails)


class Part:
    """Takes so long to end, or fails to."""

    def __init__(self, diary: Diary, name: str, seconds: float, fails: bool) -> None:
        self.name = name
        self._diary, self._seconds, self._fails = diary, seconds, fails

    async def start(self) -> None:
        self._diary.lines.append(f"{self.name} starts")

    async def stop(self, grace: float = 0.0) -> None:
        await asyncio.sleep(self._seconds)
        if self._fails:
            raise OSError(self.name)
        self._diary.lines.append(f"{self.name} ends")


def room(*parts: tuple[Phase, Part]) -> Room:
    return Room("risk", "panda.risk.v1.RiskService", lambda _: None, parts=parts)


def built(rooms: Sequence[Room], server: Part, health: Part) -> tuple[Process, Lifecycle]:
    lifecycle = Lifecycle()
    return Process(rooms, server, [health], lifecycle), lifecycle


@pytest.fixture
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for long."""
    monkeypatch.setattr(process, "PARTS_STOP_SECONDS", 0.05)
    monkeypatch.setattr(bound, "LEAST_SECONDS", 0.05)


async def test_what_stands_on_another_part_ends_before_it() -> None:
    """Phases end last first, and so do a room's parts in one: a last snapshot is taken at marks that are still there."""
    diary = Diary()
    marks, snapshots = diary.part("marks"), diary.part("snapshots", 0.01)
    feed, follower = diary.part("feed"), diary.part("follower")
    rooms = [room((Phase.LISTEN, follower), (Phase.WAKE, marks), (Phase.WAKE, snapshots), (Phase.FEED, feed))]
    running, lifecycle = built(rooms, diary.part("server"), diary.part("health"))
    await running.start()
    assert lifecycle.state is ServiceState.SERVING
    order = ["follower", "server", "marks", "snapshots", "health", "feed"]
    assert diary.lines == [f"{name} starts" for name in order]
    diary.lines.clear()
    await running.stop()
    assert diary.lines == [f"{name} ends" for name in reversed(order)]


async def test_one_room_does_not_wait_for_another(in_no_time: None) -> None:
    """A part that hangs is cut off and named; the rest of its room, the other rooms and the server end all the same."""
    diary = Diary()
    names = ("first", "hung", "last")
    hung = [(Phase.WAKE, diary.part(name, HUNG if name == "hung" else 0.0)) for name in names]
    rooms = [room(*hung), room((Phase.WAKE, diary.part("other")))]
    running, _ = built(rooms, diary.part("server"), diary.part("health"))
    await running.start()
    diary.lines.clear()
    with structlog.testing.capture_logs() as logged:
        await running.stop()
    assert set(diary.lines[:3]) == {"health ends", "other ends", "last ends"}
    assert diary.lines[3:] == ["first ends", "server ends"]
    assert [(line["event"], line["part"]) for line in logged] == [("part.cut_off", "hung")]


async def test_a_failure_to_end_keeps_nobody_from_ending() -> None:
    """Every failure is raised, after everything else has ended."""
    diary = Diary()
    rooms = [
        room((Phase.WAKE, diary.part(name)), (Phase.WAKE, diary.part(f"bad {name}", fails=True)))
        for name in "ab"
    ]
    running, _ = built(rooms, diary.part("server"), diary.part("health"))
    await running.start()
    diary.lines.clear()
    with pytest.raises(BaseExceptionGroup) as failed:
        await running.stop()
    assert sorted(str(error) for error in failed.value.exceptions) == ["bad a", "bad b"]
    assert diary.lines[0] == "health ends"
    assert sorted(diary.lines[1:]) == ["a ends", "b ends", "server ends"]


async def test_what_is_cut_off_takes_its_parts_with_it() -> None:
    """A part that is cut off within one that is cut off as well doesn't go on alone."""
    cancelled = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    inner = bound.StopBound(HUNG)
    await bound.StopBound(0.0).end("outer", lambda: inner.end("inner", hang))
    async with asyncio.timeout(20):
        await cancelled.wait()
