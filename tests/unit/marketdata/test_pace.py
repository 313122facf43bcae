from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from tests.unit.marketdata.data_files import CALENDAR, DIRECTORY

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import instant, nanoseconds
from alphapanda.domain.pace import MAX
from alphapanda.marketdata.feeds.feed import LastFrames
from alphapanda.marketdata.feeds.pace import Pacer, parsed_speed
from alphapanda.marketdata.feeds.replay import RecordingWanted, ReplayFeed, replay_run

BARS = "datetime_ist,open,high,low,close,volume"


class Wall:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds

    def pacer(self, speed: float) -> Pacer:
        return Pacer(speed, self.sleep, lambda: self.now)


@pytest.mark.parametrize(
    ("text", "speed"), [("1", 1.0), ("0.5", 0.5), ("600", 600.0), ("max", MAX), ("0", MAX)]
)
def test_a_speed_is_a_number_or_max(text, speed):
    """What --speed takes."""
    assert parsed_speed(text) == speed


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "fast", ""])
def test_another_speed_is_refused(text):
    """The error names the option, the value and what is allowed."""
    with pytest.raises(InvalidInput, match=r"^--speed: .* is not allowed; market seconds in a wall second"):
        parsed_speed(text)


async def test_steps_are_as_far_apart_as_the_speed_says():
    """At four times real pace a minute takes 15 s; who takes time for a step waits for the rest of it only."""
    wall = Wall()
    pacer = wall.pacer(4)
    await pacer.step(0)
    await pacer.step(60)
    wall.now += 5
    await pacer.step(60)
    assert wall.slept == [15, 10]


async def test_who_waits_for_its_turn_rests():
    """Whoever looks whether frames come knows that none is due."""
    wall = Wall()
    seen = []

    async def sleep(seconds: float) -> None:
        seen.append(pacer.resting)
        wall.now += seconds

    pacer = Pacer(1, sleep, lambda: wall.now)
    await pacer.step(0)
    await pacer.step(60)
    assert seen == [True]
    assert not pacer.resting


async def test_who_is_far_behind_does_not_hurry():
    """After a long stop the pace begins anew."""
    wall = Wall()
    pacer = wall.pacer(1)
    await pacer.step(0)
    wall.now += 100
    await pacer.step(10)
    await pacer.step(10)
    assert wall.slept == [10]


async def test_at_most_speed_nothing_is_waited_for():
    """As fast as the system takes it."""
    wall = Wall()
    pacer = wall.pacer(MAX)
    for _ in range(3):
        await pacer.step(60)
    assert wall.slept == []


@pytest.fixture
def file(tmp_path):
    """Three minutes of one day and two of the next."""
    rows = ["2026-11-23 09:15:00", "2026-11-23 09:16:00", "2026-11-23 09:18:00", "2026-11-24 09:15:00"]
    rows.append("2026-11-24 09:16:00")
    file = tmp_path / "bars.csv"
    file.write_text("\n".join([BARS, *(f"{row},1500,1500,1500,1500,10" for row in rows)]) + "\n")
    return file


def replay(file, pacer) -> ReplayFeed:
    return ReplayFeed(RecordingWanted([file], "NSE:INFY", DIRECTORY, CALENDAR), 7, pacer)


async def play(feed, last=None) -> list[int]:
    return [batch.market_time_ns async for run in feed.runs(last) async for batch in run.batches]


async def test_a_recording_is_played_at_its_pace_and_nights_are_passed_over(file):
    """At twice real pace: minutes are waited for, the night between two days is not."""
    wall = Wall()
    assert len(await play(replay(file, wall.pacer(2)))) == 5
    assert wall.slept == [30, 60, 30]


async def test_what_was_fed_before_is_not_waited_for(file):
    """A recording that goes on begins at once where it stopped."""
    wall = Wall()
    times = await play(replay(file, wall.pacer(MAX)))
    wanted = RecordingWanted([file], "NSE:INFY", DIRECTORY, CALENDAR)
    last = LastFrames(replay_run(wanted, 7), times[1])
    await play(replay(file, wall.pacer(1)), last)
    assert wall.slept == [120, 60]
    assert instant(times[1]).minute == 47
    assert nanoseconds(instant(times[1])) == times[1]


async def test_a_pace_that_is_missed_is_said_once_a_minute():
    """Who reaches a third of its speed says so with both figures, and again after a minute."""
    wall = Wall()
    pacer = wall.pacer(60)
    with capture_logs() as logs:
        for _ in range(75):
            await pacer.step(20)
            wall.now += 1.0
    assert pacer.reached == pytest.approx(20)
    assert logs == [
        {"event": "feed.pace_missed", "log_level": "warning", "speed": 60, "reached": 20.0},
        {"event": "feed.pace_missed", "log_level": "warning", "speed": 60, "reached": 20.0},
    ]


async def test_a_pace_that_is_kept_is_not_said():
    """Whoever keeps its pace reports it; as fast as it goes has no pace to miss."""
    wall = Wall()
    pacer, fastest = wall.pacer(4), wall.pacer(MAX)
    with capture_logs() as logs:
        for _ in range(50):
            await pacer.step(4)
            await fastest.step(1)
    assert pacer.reached == pytest.approx(4)
    assert fastest.reached == pytest.approx(1)
    assert logs == []
