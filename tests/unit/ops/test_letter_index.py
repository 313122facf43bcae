"""The index of dead letters: what a page of it costs, and what it forgets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.port import StoredRecord
from alphapanda.ops.letter_index import LetterFilter, LetterIndex, LetterState
from alphapanda.ops.letter_requests import CarriedOut, request_record

TOPIC = "paper.signals.raw"
GROUP = "risk.signals"
PAGE = 20


def letter_record(offset: int, at_ns: int = 1) -> StoredRecord:
    """The record of a dead letter; its key is one of two."""
    headers = {
        "reason": "PARKED",
        "detail": "",
        "group": GROUP,
        "topic": TOPIC,
        "partition": "0",
        "offset": offset,
    }
    made = tuple((f"dlq_{name}", str(value).encode()) for name, value in headers.items())
    return StoredRecord(f"{TOPIC}.dlq", 0, offset, b"k%d" % (offset % 2), b"value", made, at_ns)


def outcome_record(offset: int) -> StoredRecord:
    """The record that says that a letter was redriven."""
    headers = {
        "outcome": "REDRIVEN",
        "detail": "",
        "group": GROUP,
        "topic": TOPIC,
        "partition": "0",
        "offset": offset,
    }
    made = tuple((f"dlq_{name}", str(value).encode()) for name, value in headers.items())
    return StoredRecord(f"{TOPIC}.dlq", 0, 10**6 + offset, b"k", b"", made, 1)


def steps(index: LetterIndex, work: Callable[[], object]) -> int:
    """Steps of SQLite's machine that a piece of work takes, in tens."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    index._rows.set_progress_handler(count, 10)
    work()
    index._rows.set_progress_handler(None, 0)
    return counted


WAITING = LetterState.WAITING


@pytest.mark.parametrize(
    "wanted",
    [
        LetterFilter(state=WAITING),
        LetterFilter(topic=TOPIC),
        LetterFilter(topic=TOPIC, state=WAITING),
        LetterFilter(group=GROUP, state=WAITING),
        LetterFilter(topic=TOPIC, group=GROUP, reason="PARKED", state=WAITING),
        LetterFilter(key="k1", state=WAITING),
        LetterFilter(topic=TOPIC, group=GROUP, key="k1"),
    ],
    ids=str,
)
def test_all_pages_of_twice_as_many_letters_cost_twice_as_much(wanted) -> None:
    """Whatever they are filtered by, each page begins where the one before it ended, and misses none."""

    def cost(n: int) -> int:
        index = LetterIndex()
        index.learn(map(letter_record, range(n)))

        def read() -> None:
            found, after = 0, None
            while page := index.page(wanted, after, PAGE):
                found, after = found + len(page), page[-1].place
            assert found == (n // 2 if wanted.key else n)

        return steps(index, read)

    assert cost(1_200) <= 2.2 * cost(600)


@pytest.mark.parametrize(
    "wanted", [LetterFilter(state=WAITING), LetterFilter(key="k1", state=WAITING)], ids=str
)
def test_the_next_letter_that_waits_is_found_past_any_number_that_ended(wanted) -> None:
    """So n letters redriven one after another don't cost n times n."""

    def cost(ended: int) -> int:
        index = LetterIndex()
        index.learn(map(letter_record, range(ended + 100)))
        index.learn(map(outcome_record, range(ended)))
        [last] = index.page(LetterFilter(), (TOPIC, 0, ended + 98, GROUP), 1)

        def read() -> None:
            assert index.page(wanted, None, PAGE)[0].letter_id.offset in {ended, ended + 1}
            assert len(list(index.parked_before(last))) == 49

        return steps(index, read)

    assert cost(1_500) <= 1.1 * cost(150) + 1


def test_what_the_log_has_deleted_is_forgotten() -> None:
    """Letters and commands go with the records that tell of them."""
    index = LetterIndex()
    index.learn(letter_record(offset, at_ns=offset) for offset in range(10))
    for n in (3, 7):
        made = request_record(CarriedOut(f"command {n}", "body", {}), TopicPartition(f"{TOPIC}.dlq", 0))
        index.learn([StoredRecord(made.topic, made.partition, 20 + n, made.key, made.value, made.headers, n)])
    index.forget(TOPIC, before_ns=5)
    index.forget("another", before_ns=100)
    assert [known.letter_id.offset for known in index.page(LetterFilter(), None, 100)] == [5, 6, 7, 8, 9]
    assert index.carried_out("command 3") is None
    assert index.carried_out("command 7") is not None
