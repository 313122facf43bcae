"""Thousands of dead letters: each is listed, shown and redriven, and the process holds a page of them, no more."""

from __future__ import annotations

import gc
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence

import grpc
import pytest

from alphapanda.consuming.dead_letters import Act, DeadLetters, Ending, Letter, LetterId, command_of
from alphapanda.contract.topics import TopicMap
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import Record, Start, StoredRecord
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.ops.dead_letters import DeadLetterService
from alphapanda.ops.letter_index import KnownLetter, LetterFilter, LetterIndex, LetterState
from alphapanda.ops.letter_requests import LetterRequest
from panda.ops.v1 import ops_pb2 as pb

MANY = 2100
PAGE = 500


async def listed(mesh, **wanted) -> Sequence[pb.DeadLetter]:
    """All that ListDeadLetters has, page by page."""
    found, token = [], ""
    while True:
        answer = await mesh.ops.ListDeadLetters(
            pb.ListDeadLettersRequest(filter=pb.DeadLetterFilter(**wanted), page_size=PAGE, page_token=token)
        )
        found += answer.letters
        assert len(answer.letters) <= PAGE
        if not (token := answer.next_page_token):
            return found


def held() -> int:
    """Letters that the process has in memory."""
    return sum(isinstance(one, KnownLetter | Letter) for one in gc.get_objects())


async def test_every_one_of_thousands_is_reached(embedded) -> None:
    """Listed once each and in order, shown, and redriven to the last, while memory holds at most a page of them."""
    topic = embedded.resources.topic_map.topic("signal_validated", "paper")
    await embedded.resources.log.publish(
        [Record(topic, n % 2, b"k%d" % (n % 7), b"\xff%d" % n) for n in range(MANY)]
    )
    await embedded.come_to_rest(90)

    letters = await listed(embedded)
    assert held() <= PAGE + 1
    places = [(one.partition, one.offset) for one in letters]
    assert places == [(partition, offset) for partition in (0, 1) for offset in range(MANY // 2)]
    assert {(one.reason, one.state) for one in letters} == {("UNDECODABLE", pb.DEAD_LETTER_STATE_WAITING)}
    of_key = await listed(embedded, key="k3", state=pb.DEAD_LETTER_STATE_WAITING)
    assert len(of_key) == len(range(3, MANY, 7))
    assert await listed(embedded, state=pb.DEAD_LETTER_STATE_REDRIVEN) == []
    shown = await embedded.ops.GetDeadLetter(pb.GetDeadLetterRequest(letter_id=letters[-1].letter_id))
    assert shown.record.value == b"\xff%d" % (MANY - 1)
    assert shown.letter == letters[-1]

    told = json.loads(await embedded.cli("dlq", "redrive", "--topic", topic, "--json", status=1))
    assert [one["letterId"] for one in told["letters"]] == [one.letter_id for one in letters]
    await embedded.come_to_rest(90)
    assert all(one.last_failure.startswith("Unreadable") for one in await listed(embedded))
    assert held() <= PAGE + 1


async def test_a_letter_that_nobody_knows_is_not_found(embedded) -> None:
    """An id of no letter, of no form or beyond any offset is refused by its name."""
    for unknown in ("trading/paper.signals.validated/0/1", "nonsense", f"a/b/0/{2**70}", "a/b/00/1"):
        with pytest.raises(grpc.aio.AioRpcError, match=f"no dead letter '{unknown}'"):
            await embedded.ops.GetDeadLetter(pb.GetDeadLetterRequest(letter_id=unknown))


@pytest.fixture
async def log() -> Iterator[SqliteEventLog]:
    """A log in memory with every topic."""
    log = SqliteEventLog(":memory:")
    await log.start()
    await log.ensure(TOPICS.specs())
    yield log
    await log.stop()


TOPICS = TopicMap(("paper",))
SIGNALS = TOPICS.topic("trading_signal", "paper")


def record(offset: int, key: bytes = b"k") -> StoredRecord:
    return StoredRecord(SIGNALS, 0, offset, key, b"value", (), 1)


async def test_a_full_disk_loses_no_letter(log, monkeypatch) -> None:
    """Where the index can't be written the call fails, and the next one begins anew and has them all."""
    desk = DeadLetterService(log, TOPICS)
    letters = DeadLetters(log)
    await letters.send(record(0), group="risk.signals", reason=Reason.INVALID, detail="")
    assert len(await desk.page(LetterFilter(), None, 10)) == 1
    await letters.send(record(1), group="risk.signals", reason=Reason.INVALID, detail="")

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(LetterIndex, "learn", full)
        with pytest.raises(sqlite3.OperationalError):
            await desk.page(LetterFilter(), None, 10)
    found = await desk.page(LetterFilter(), None, 10)
    assert [letter.letter_id.offset for letter in found] == [0, 1]
    await desk.stop()


async def test_what_came_of_a_letter_is_its_first_ending_and_last_failure(log) -> None:
    """Written twice it is one letter; failures count until the first ending, which stays."""
    desk = DeadLetterService(log, TOPICS)
    letters = DeadLetters(log)
    for offset in (0, 0, 1):
        await letters.send(record(offset), group="risk.signals", reason=Reason.BUG, detail=f"at {offset}")
    first = LetterId("risk.signals", SIGNALS, 0, 0)
    for ending, detail in (
        (Ending.FAILED_AGAIN, "once"),
        (Ending.FAILED_AGAIN, "twice"),
        (Ending.REDRIVEN, ""),
        (Ending.DISCARDED, "too late"),
    ):
        await letters.settle(first, b"k", ending, detail)
    settled, waiting = await desk.page(LetterFilter(), None, 10)
    assert (settled.letter_id, settled.failures, settled.last_failure, settled.ending) == (
        first,
        2,
        "twice",
        Ending.REDRIVEN,
    )
    assert await desk.page(LetterFilter(state=LetterState.WAITING), None, 10) == [waiting]
    assert await desk.page(LetterFilter(state=LetterState.REDRIVEN), None, 10) == [settled]
    assert await desk.page(LetterFilter(), settled.place, 10) == [waiting]
    await desk.stop()


async def test_a_key_s_letters_are_one_command(log) -> None:
    """However many of a parked key are discarded by id, its group is told once: those up to the last of them."""
    desk = DeadLetterService(log, TOPICS, outcome_seconds=0.0)
    letters = DeadLetters(log)
    for offset in range(30):
        key = b"k" if offset % 2 else b"another"
        await letters.send(record(offset, key), group="risk.signals", reason=Reason.PARKED, detail="")
    chosen = [str(LetterId("risk.signals", SIGNALS, 0, offset)) for offset in range(21)]
    request = LetterRequest.of("", "DiscardDeadLetters", "1", pb.DiscardDeadLettersRequest(letter_ids=chosen))

    async def choose() -> tuple[Sequence[KnownLetter], str]:
        return await desk.named(chosen), ""

    await desk.discard(request, choose)
    await desk.discard(request, choose)
    reader = log.topic_reader([SIGNALS], Start.EARLIEST)
    await reader.start()
    commands = [command_of(one) for one in await reader.fetch(1000, 0.0)]
    assert [(one.letter_id.offset, one.act, one.whole_key) for one in commands] == [
        (19, Act.DISCARD, False),
        (20, Act.DISCARD, False),
    ]
    await desk.stop()


async def test_the_index_keeps_no_letter_longer_than_the_log(log) -> None:
    """What is past the topic's retention is no longer listed by a process that has run all the time."""
    now = time.time_ns()
    desk = DeadLetterService(log, TOPICS, wall_clock_ns=lambda: now)
    await DeadLetters(log).send(record(0), group="risk.signals", reason=Reason.INVALID, detail="")
    assert len(await desk.page(LetterFilter(), None, 10)) == 1
    now += 401 * 24 * 3600 * 10**9
    assert await desk.page(LetterFilter(), None, 10) == []
    await desk.stop()
