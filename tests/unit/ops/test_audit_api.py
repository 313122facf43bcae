"""ListAuditEntries: filters by what people know, pages, and an answer that says what isn't known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alphapanda.domain.errors import InvalidInput
from alphapanda.ops.audit_api import AuditApi, found_method, wanted_of
from alphapanda.storage.audit import AuditEntry, AuditFilter, Outcome
from panda.ops.v1 import ops_pb2 as pb

AT = datetime(2026, 11, 30, 4, 0, 0, 123_456, tzinfo=UTC)
CHAIN = "0f0e0d0c-0b0a-4908-8706-050403020100"
SET = "/panda.risk.v1.RiskService/SetKillSwitch"
ENTRY = AuditEntry(
    "e", AT, "risk", SET, "ada", "ipv4:127.0.0.1:1", "r-1", CHAIN, {"broker": "paper"}, number=7
)


class Kept:
    """Entries in memory, newest first, and what was asked for."""

    def __init__(self, entries: Sequence[AuditEntry]) -> None:
        self.entries = entries
        self.asked: list[AuditFilter] = []

    async def page(
        self, wanted: AuditFilter, before: tuple[datetime, int] | None, most: int
    ) -> Sequence[AuditEntry]:
        self.asked.append(wanted)
        return [one for one in self.entries if before is None or (one.started_at, one.number) < before][:most]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("SetKillSwitch", SET),
        ("setkillswitch", SET),
        ("RiskService/SetKillSwitch", SET),
        (SET, SET),
        ("restore", "alphapanda restore"),
        ("alphapanda log repair", "alphapanda log repair"),
    ],
)
def test_a_command_is_found_by_what_people_call_it(given: str, found: str) -> None:
    """By its last part or its full name; a command of the command line, too."""
    assert found_method(given) == found


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (pb.ListAuditEntriesRequest(method="SetKillSwich"), "did you mean 'SetKillSwitch'"),
        (pb.ListAuditEntriesRequest(method="GetStatus"), "method"),
        (pb.ListAuditEntriesRequest(outcome="PERMISSION"), "did you mean 'PERMISSION_DENIED'"),
        (pb.ListAuditEntriesRequest(correlation_id="7"), "a UUID, or 32 hex digits"),
    ],
)
def test_what_can_match_nothing_is_refused(request_: pb.ListAuditEntriesRequest, told: str) -> None:
    """An empty page for a wrong name would read as if nobody had done it."""
    with pytest.raises(InvalidInput, match=told):
        wanted_of(request_)


def test_a_trace_id_is_a_correlation_id() -> None:
    """With or without dashes; outcomes in any case."""
    wanted = wanted_of(
        pb.ListAuditEntriesRequest(correlation_id=CHAIN.replace("-", "").upper(), outcome="none")
    )
    assert (wanted.correlation_id, wanted.outcome) == (CHAIN, "NONE")


async def test_pages_follow_each_other() -> None:
    """Every entry comes once, newest first, also where several began in the same microsecond."""
    entries = [
        replace(ENTRY, number=n, started_at=AT + timedelta(microseconds=n // 3)) for n in range(10, 0, -1)
    ]
    api, seen, token = AuditApi(Kept(entries)), [], ""
    while True:
        answer = await api.list(pb.ListAuditEntriesRequest(page_size=4, page_token=token))
        seen += [one.number for one in answer.entries]
        token = answer.next_page_token
        if not token:
            break
    assert seen == [*range(10, 0, -1)]
    first = await api.list(pb.ListAuditEntriesRequest(page_size=4))
    with pytest.raises(InvalidInput, match="page_token"):
        await api.list(pb.ListAuditEntriesRequest(caller="ada", page_token=first.next_page_token))


async def test_an_entry_says_whether_its_outcome_is_known() -> None:
    """Without an outcome there is none, and no end; with one, everything that was told is there."""
    outcome = Outcome(AT, "OK", before={"state": "ACTIVE"}, after={"state": "HALTED"}, subjects=("s-1",))
    answer = await AuditApi(Kept([replace(ENTRY, outcome=outcome), ENTRY])).list(pb.ListAuditEntriesRequest())
    ended, open_ = answer.entries
    assert (ended.outcome, ended.before, ended.after) == ("OK", '{"state": "ACTIVE"}', '{"state": "HALTED"}')
    assert [*ended.subjects] == ["s-1"]
    assert (ended.method, ended.caller, ended.request, ended.calls) == (SET, "ada", '{"broker": "paper"}', 1)
    assert (open_.outcome, open_.HasField("ended_at"), open_.before) == ("", False, "")
