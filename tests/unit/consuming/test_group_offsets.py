"""Which offsets a group stores, and when."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

import pytest
import structlog

from alphapanda.consuming.group_offsets import GroupOffsets
from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.resilience.backoff import Backoff

AT, OTHER = TopicPartition("paper.orders.filled", 0), TopicPartition("paper.orders.filled", 1)


class Log:
    """Keeps what is committed; takes it when a test lets it."""

    def __init__(self) -> None:
        self.commits: list[Mapping[TopicPartition, int]] = []
        self.failures: list[Exception] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        await self.answers.wait()
        if self.failures:
            raise self.failures.pop()
        self.commits.append(dict(offsets))


@pytest.fixture
async def log() -> Log:
    return Log()


@pytest.fixture
async def offsets(log: Log):
    """Started, with an hour between two commits."""
    made = GroupOffsets(
        log.commit,
        3600,
        Backoff(0.001, 0.002, random.random),
        lambda _partitions, _error: None,
        asyncio.sleep,
        structlog.get_logger(),
    )
    made.start()
    yield made
    await made.stop()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0.001)


async def test_the_first_is_committed_at_once_and_others_wait(offsets, log) -> None:
    """After a quiet time nothing waits for the interval; what is handled within it goes with the next commit."""
    offsets.handled(AT, 5)
    await turns()
    offsets.handled(AT, 7)
    offsets.handled(OTHER, 2)
    await turns()
    assert log.commits == [{AT: 5}]
    await offsets.hand_over([AT, OTHER])
    assert log.commits == [{AT: 5}, {AT: 7, OTHER: 2}]


async def test_only_what_goes_is_handed_over(offsets, log) -> None:
    """Partitions that stay are committed at their time, and nothing is committed twice."""
    log.answers.clear()
    offsets.handled(AT, 1)
    await turns()
    offsets.handled(OTHER, 2)
    log.answers.set()
    await offsets.hand_over([OTHER])
    await offsets.hand_over([AT, OTHER])
    assert log.commits == [{AT: 1}, {OTHER: 2}]


async def test_nothing_unhandled_is_passed(offsets, log) -> None:
    """Where a reader hands out earlier records again, the offset doesn't lie beyond the first that isn't handled."""
    offsets.fetched(AT, 10)
    offsets.handled(AT, 20)
    offsets.fetched(AT, 15)
    await offsets.hand_over([AT])
    assert log.commits[-1] == {AT: 15}


async def test_what_is_in_hand_when_a_partition_goes_is_not_committed(offsets, log) -> None:
    """A batch that was abandoned comes again at the next member; what was handled before it doesn't."""
    offsets.fetched(AT, 0)
    offsets.handled(AT, 3)
    offsets.fetched(AT, 3)
    await offsets.hand_over([AT])
    offsets.fetched(OTHER, 0)
    await offsets.hand_over([OTHER])
    assert log.commits == [{AT: 3}]


async def test_a_commit_that_fails_is_made_again(offsets, log) -> None:
    """Until the log answers the offsets are failing; then the newest are stored."""
    log.failures = [LogUnavailable("away"), ValueError("a bug"), LogUnavailable("away")]
    offsets.handled(AT, 1)
    async with asyncio.timeout(10):
        while not offsets.failing:  # noqa: ASYNC110
            await asyncio.sleep(0)
        offsets.handled(AT, 2)
        while offsets.failing:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert log.commits == [{AT: 2}]


async def test_a_log_that_does_not_answer_holds_up_no_hand_over(offsets, log, monkeypatch) -> None:
    """The last commit has its time; then the partition goes, and what was handled comes again."""
    monkeypatch.setattr("alphapanda.consuming.group_offsets._LAST_COMMIT_SECONDS", 0.01)
    log.answers.clear()
    offsets.handled(AT, 1)
    async with asyncio.timeout(10):
        await offsets.hand_over([AT])
    log.answers.set()
    await offsets.hand_over([AT])
    assert log.commits in ([], [{AT: 1}])  # the one that was under way


async def test_a_commit_from_before_a_hand_over_says_nothing_of_what_is_handled_after_it(
    offsets, log, monkeypatch
) -> None:
    """A partition that goes and comes back is committed by its new membership: the log may have refused the older one."""
    monkeypatch.setattr("alphapanda.consuming.group_offsets._LAST_COMMIT_SECONDS", 0.01)
    log.answers.clear()
    offsets.handled(AT, 1)
    await turns()
    await offsets.hand_over([AT])
    offsets.handled(AT, 1)
    log.answers.set()
    await turns()
    await offsets.hand_over([AT])
    assert log.commits == [{AT: 1}, {AT: 1}]


async def test_offsets_are_committed_once_more_after_a_commit_that_failed() -> None:
    """The log may carry out a failed commit late, over a newer one; what it holds then is put right without new records."""
    held: dict[TopicPartition, int] = {}
    attempts: list[Mapping[TopicPartition, int]] = []

    async def commit(asked: Mapping[TopicPartition, int]) -> None:
        attempts.append(dict(asked))
        if len(attempts) == 1:
            raise LogUnavailable("no answer")
        held.update(asked)

    offsets = GroupOffsets(
        commit,
        0.001,
        Backoff(0.001, 0.002, random.random),
        lambda _partitions, _error: None,
        asyncio.sleep,
        structlog.get_logger(),
        repeat_seconds=0.2,
    )
    offsets.start()
    offsets.handled(AT, 2)
    await turns()
    offsets.handled(AT, 3)
    await turns()
    assert held == {AT: 3}
    held.update(attempts[0])  # the failed one is carried out now
    async with asyncio.timeout(10):
        while held != {AT: 3}:
            await turns()
    made = len(attempts)
    await asyncio.sleep(0.3)
    await offsets.stop()
    assert len(attempts) == made
