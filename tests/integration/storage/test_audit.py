"""The audit in PostgreSQL: append-only by the database, never without the entry of an effect, and found by every filter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs
from tests.statements import Sent

from alphapanda.storage import audit_trail
from alphapanda.storage.audit import NO_OUTCOME, AuditEntry, AuditFilter, Outcome, PostgresAudit, audit_purge
from alphapanda.storage.audit_trail import AuditTrail
from alphapanda.storage.engine import open_engine
from alphapanda.storage.purging import Purging

NOW = datetime(2026, 11, 30, 4, 0, tzinfo=UTC)


@pytest.fixture
async def engine(tables: str) -> AsyncIterator[AsyncEngine]:
    """A database with empty tables."""
    opened = open_engine(tables, 2)
    yield opened
    await opened.dispose()


def entry(
    caller: str = "ada", *, days: float = 0, outcome: Outcome | None = None, **other: str
) -> AuditEntry:
    made = AuditEntry(
        str(uuid4()), NOW - timedelta(days=days), "risk", "/panda.risk.v1.RiskService/SetKillSwitch", caller,
        "ipv4:127.0.0.1:1", "r-1", str(uuid4()), {"broker": "paper"}, outcome=outcome,
    )  # fmt: skip
    return replace(made, **other)  # type: ignore[arg-type]


OK = Outcome(NOW, "OK", before={"state": "ACTIVE"}, after={"state": "HALTED"}, subjects=("s-1",))


async def everything(engine: AsyncEngine, **wanted: object) -> list[AuditEntry]:
    return await PostgresAudit(engine).page(AuditFilter(**wanted), None, 100)  # type: ignore[arg-type]


async def test_an_entry_gets_its_outcome_once(engine: AsyncEngine) -> None:
    """What was stored before the effect stays as it is, the first outcome too; what is stored comes back."""
    store, begun = PostgresAudit(engine), entry()
    await store.add([begun])
    await store.add([begun])
    await store.end({begun.entry_id: OK})
    await store.end({begun.entry_id: Outcome(NOW, "INTERNAL"), str(uuid4()): OK})
    [kept] = await everything(engine)
    assert kept == replace(begun, outcome=OK, number=kept.number)


CHANGES = (
    "UPDATE audit.entries SET caller = 'eve'",
    "UPDATE audit.entries SET outcome = 'OK', ended_at = now(), caller = 'eve' WHERE outcome IS NULL",
    "UPDATE audit.entries SET outcome = 'UNAVAILABLE' WHERE outcome IS NOT NULL",
    "UPDATE audit.entries SET outcome = NULL, ended_at = NULL WHERE outcome IS NOT NULL",
    "UPDATE audit.entries SET message = 'nothing happened' WHERE outcome IS NULL",
    "DELETE FROM audit.entries",
    "DELETE FROM audit.entries WHERE outcome IS NULL",
    "TRUNCATE audit.entries",
)


async def test_the_database_keeps_what_it_has(engine: AsyncEngine) -> None:
    """No statement changes an entry or an outcome, or deletes an entry of the last year."""
    await PostgresAudit(engine).add([replace(entry(), started_at=datetime.now(UTC)), entry(outcome=OK)])
    before = await everything(engine)
    for statement in CHANGES:
        async with engine.connect() as connection:
            with pytest.raises(DBAPIError, match="the audit is append-only"):
                await connection.execute(text(statement))
    assert await everything(engine) == before


async def test_what_is_older_than_a_year_is_purged(engine: AsyncEngine) -> None:
    """After 365 days; with a longer setting later; and where this process's clock is ahead the database's decides."""
    now = datetime.now(UTC)
    await PostgresAudit(engine).add(
        [replace(entry(), started_at=now - timedelta(days=days)) for days in (1, 364, 366, 400)]
    )
    for keep, ahead, left in (
        (timedelta(days=380), 0, 3),
        (timedelta(days=365), 0, 2),
        (timedelta(days=365), 300, 2),
    ):
        await Purging(
            "ops", engine, [audit_purge(keep)], 3600, lambda ahead=ahead: now + timedelta(days=ahead)
        ).purge()
        assert len(await everything(engine)) == left


async def test_every_filter_finds_its_entries(engine: AsyncEngine) -> None:
    """By caller, method, outcome, chain and time, alone and together, newest first, page by page."""
    chain = str(uuid4())
    entries = [
        entry("ada", days=3, outcome=OK),
        entry("bob", days=2, outcome=Outcome(NOW, "PERMISSION_DENIED", "NO_PERMISSION", "no")),
        entry("ada", days=1, method="alphapanda restore", correlation_id=chain),
    ]
    await PostgresAudit(engine).add(entries)
    first, second, third = (one.entry_id for one in entries)

    async def found(**wanted: object) -> list[str]:
        return [one.entry_id for one in await everything(engine, **wanted)]

    assert await found() == [third, second, first]
    assert await found(caller="ada") == [third, first]
    assert await found(method="alphapanda restore") == [third]
    assert await found(outcome="PERMISSION_DENIED") == [second]
    assert await found(outcome=NO_OUTCOME) == [third]
    assert await found(correlation_id=chain) == [third]
    assert await found(since=NOW - timedelta(days=2)) == [third, second]
    assert await found(until=NOW - timedelta(days=2)) == [first]
    assert await found(caller="ada", outcome="OK", since=NOW - timedelta(days=9)) == [first]
    store = PostgresAudit(engine)
    [newest] = await store.page(AuditFilter(), None, 1)
    following = await store.page(AuditFilter(), (newest.started_at, newest.number), 10)
    assert [one.entry_id for one in following] == [second, first]


async def test_a_trail_stores_outcomes_and_refusals_soon(engine: AsyncEngine) -> None:
    """Nobody waits for them; a stop does, and says how often what was counted came."""
    trail, begun = AuditTrail(engine), entry()
    await trail.start()
    await trail.begin(begun)
    assert [one.outcome for one in await everything(engine)] == [None]
    trail.end(begun.entry_id, OK)
    refused = Outcome(NOW, "UNAUTHENTICATED", "NO_TOKEN", "no token")
    for _ in range(100):
        trail.refuse(entry("", outcome=refused))
    await trail.stop()
    assert [one.outcome for one in await everything(engine, caller="ada")] == [OK]
    told = await everything(engine, outcome="UNAUTHENTICATED")
    assert sum(one.calls for one in told) == 100
    assert len(told) < 10


async def test_commands_cost_two_statements_however_many_they_are(tables: str) -> None:
    """One before and one after; those that come together share them."""
    opened, sent = open_engine(tables, 1), Sent()
    sent.listen(opened)
    trail = AuditTrail(opened)
    alone, many = entry(), [entry() for _ in range(200)]
    await trail.begin(alone)
    trail.end(alone.entry_id, OK)
    await trail.start()
    await trail.stop()
    assert [one.split()[0] for one in sent.statements] == ["INSERT", "UPDATE"]
    sent.statements.clear()
    await asyncio.gather(*map(trail.begin, many))
    for one in many:
        trail.end(one.entry_id, OK)
    await trail.stop()
    assert [one.split()[0] for one in sent.statements] == ["INSERT", "UPDATE"]
    await opened.dispose()


async def test_without_the_database_no_command_is_begun(engine: AsyncEngine) -> None:
    """Storing the entry fails, so that its command has no effect; outcomes wait for the database in bounded memory."""
    trail, begun = AuditTrail(engine), entry()
    await trail.begin(begun)
    trail.end(begun.entry_id, OK)
    nowhere = open_engine("postgresql+asyncpg://panda@127.0.0.1:1/none", 1)
    away = AuditTrail(nowhere)
    with pytest.raises(OSError, match="Connect call failed"):
        await away.begin(entry())
    with capture_logs() as logs:
        for n in range(audit_trail.MOST_WAITING + 3):
            away.end(str(n), OK)
        await away.stop()
    assert away.lost == audit_trail.MOST_WAITING + 3
    assert {line["event"] for line in logs} == {"audit.outcomes_lost"}
    assert len(logs) < 20
    await nowhere.dispose()
    await trail.start()
    await trail.stop()
    assert [one.outcome for one in await everything(engine)] == [OK]


async def test_what_no_database_can_keep_holds_up_nothing(engine: AsyncEngine) -> None:
    """An entry that can never be stored is lost with an alarm; those after it are stored."""
    trail = AuditTrail(engine)
    with capture_logs() as logs:
        trail.refuse(entry(correlation_id="no uuid", outcome=OK))
        await trail.start()
        await trail.stop()
        trail.refuse(entry("bob", outcome=OK))
        await trail.stop()
    assert [line["event"] for line in logs] == ["audit.outcomes_lost"]
    assert [one.caller for one in await everything(engine)] == ["bob"]
