from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from alphapanda.domain.errors import InvalidInput
from alphapanda.instruments.core import KITE_COLUMNS, DatedFacts, shipped_instruments
from alphapanda.instruments.daily import DailyDump, is_due, require_whole
from alphapanda.instruments.dump import parse_instruments
from alphapanda.instruments.registry import InstrumentRegistry, LastImport
from alphapanda.resilience.backoff import Backoff

NOW = datetime(2026, 11, 30, 4, 0, tzinfo=UTC)  # 09:30 in India


class NobodyThere(Exception):
    pass


def dump(*numbers: int) -> bytes:
    rows = [
        f"{number * 256 + 1},{number},STOCK{number},STOCK {number},0,,0,0.05,1,EQ,NSE,NSE"
        for number in numbers
    ]
    return "\n".join([",".join(KITE_COLUMNS), *rows, ""]).encode()


def daily(tmp_path, download, now: Callable[[], datetime] = lambda: NOW) -> DailyDump:
    registry = InstrumentRegistry(tmp_path / "instruments.sqlite")
    return DailyDump(
        "zerodha", download, (NobodyThere,), registry, shipped_instruments, DatedFacts(), now, seconds=0.01
    )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("imported", "now", "due"),
    [
        (None, NOW, True),
        ("2026-11-30T03:00+00:00", "2026-11-30T04:00+00:00", False),
        ("2026-11-30T02:59+00:00", "2026-11-30T03:00+00:00", True),
        ("2026-11-29T04:00+00:00", "2026-11-30T02:59+00:00", False),
        ("2026-11-29T04:00+00:00", "2026-11-30T03:00+00:00", True),
    ],
)
def test_a_dump_is_due_once_a_day_from_half_past_eight_in_india(imported, now, due) -> None:
    """The day's dump is made by then; one that was imported before it is yesterday's."""
    last = None if imported is None else LastImport(datetime.fromisoformat(imported), 10)
    assert is_due(last, NOW if imported is None else datetime.fromisoformat(now)) is due


@pytest.mark.parametrize(
    ("content", "last", "why"),
    [
        (dump(), 10, "a dump with instruments"),
        (dump(*range(1, 10))[:-12], 10, "last row is cut off"),
        (dump(1, 2, 3, 4, 5, 6), 10, "at least two thirds of the last dump's 10"),
    ],
    ids=["empty", "cut", "shrunken"],
)
def test_a_dump_that_is_not_whole_is_refused_by_its_reason(content, last, why) -> None:
    """Whatever it lacks, the message says what is kept."""
    found = parse_instruments("the dump", content.decode(), NOW.date(), DatedFacts())
    with pytest.raises(InvalidInput, match=why) as refusal:
        require_whole(found, "the dump", LastImport(NOW, last))
    assert "kept" in str(refusal.value)


def test_a_dump_of_two_thirds_is_whole() -> None:
    """Contracts expire: seven of ten are no cut."""
    found = parse_instruments("the dump", dump(*range(7)[1:], 8).decode(), NOW.date(), DatedFacts())
    require_whole(found, "the dump", LastImport(NOW, 10))


async def test_the_dump_is_imported_as_soon_as_somebody_signs_in_and_then_once_a_day(tmp_path) -> None:
    """Without a session it waits without an alarm; the same dump the next day counts as that day's, too."""
    clock, calls, signed_in = [NOW], [], []

    async def download() -> bytes:
        if not signed_in:
            raise NobodyThere("nobody is signed in")
        calls.append(clock[0])
        return dump(1, 2, 3)

    part = daily(tmp_path, download, lambda: clock[0])
    with capture_logs() as lines:
        await part.start()
        await until(lambda: part.state.problem == "nobody is signed in")
        assert part.state.last is None
        assert part.degradation == "no dump was imported yet: nobody is signed in"
        signed_in.append(True)
        await until(lambda: part.state.last is not None)
        assert part.degradation == ""
    assert [line["event"] for line in lines] == ["instruments.dump_imported"]
    assert (
        InstrumentRegistry(tmp_path / "instruments.sqlite").by_symbol("NSE", "STOCK2").instrument_token == 513
    )
    clock[0] += timedelta(days=1)
    await until(lambda: part.state.last.at == clock[0])
    assert calls == [NOW, clock[0]]
    await part.stop()


async def test_a_shrunken_dump_leaves_the_instruments_as_they_were_and_says_so_once(tmp_path) -> None:
    """An alarm with the reason; it is tried again later, not at once."""
    served, calls, clock = [dump(*range(1, 10))], [], [NOW]

    async def download() -> bytes:
        calls.append(1)
        return served[0]

    part = daily(tmp_path, download, lambda: clock[0])
    await part.start()
    await until(lambda: part.state.last is not None)
    served[0] = dump(1, 2)
    clock[0] += timedelta(days=1)
    with capture_logs() as lines:
        await until(lambda: bool(part.state.problem))
        before = len(calls)
        await asyncio.sleep(0.1)
        assert len(calls) == before
    (alarm,) = [line for line in lines if line.get("alarm")]
    assert "two thirds" in alarm["error"]
    assert part.name == "instruments of zerodha"
    assert part.degradation.startswith("the newest dump is of Mon 30 Nov 09:30 IST: ")
    assert InstrumentRegistry(tmp_path / "instruments.sqlite").count() == 9
    await part.stop()


async def test_a_broker_that_does_not_answer_is_asked_again_soon(tmp_path, monkeypatch) -> None:
    """Without an alarm, after seconds and not after ten minutes: a time-out is no spoilt dump."""
    monkeypatch.setattr("alphapanda.instruments.daily._PAUSES", Backoff(0.01, 0.02))
    answers = [TimeoutError("no answer within 7 s"), ConnectionError("reset"), dump(1, 2, 3)]

    async def download() -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    part = daily(tmp_path, download, lambda: datetime.now(UTC))
    with capture_logs() as lines:
        await part.start()
        await until(lambda: part.state.last is not None)
    await part.stop()
    assert [line["event"] for line in lines] == [
        *["instruments.dump_delayed"] * 2,
        "instruments.dump_imported",
    ]
    assert not any(line.get("alarm") for line in lines)
