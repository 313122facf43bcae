"""What every service's schema gives: outbox, remembered requests, migrations; on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from alphapanda.contract.topics import TopicMap
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.requests import CommandKey, RequestMemory, RequestReused
from alphapanda.storage.schema import schema_version, upgrade_schema
from panda.events.v1.events_pb2 import Event
from panda.ops.v1.ops_pb2 import GetStatusRequest, GetStatusResponse

KEY = CommandKey("desk", "PlaceOrder", "request-1")
BODY = GetStatusRequest(service="risk")
ANSWER = GetStatusResponse(version="1")


def event_id(n: int) -> str:
    return str(uuid5(NAMESPACE_URL, str(n)))


def rejection(n: int) -> Event:
    event = Event(event_id=event_id(n), correlation_id=event_id(0), broker="paper", source="risk")
    event.occurred_at.FromDatetime(datetime(2026, 3, 2, tzinfo=UTC))
    event.signal_rejected.strategy_id = "ema"
    event.signal_rejected.instrument_token = n
    return event


@pytest.fixture
async def empty(database: str):
    engine = open_engine(database, 5)
    yield engine
    await engine.dispose()


@pytest.fixture
async def engine(tables: str):
    engine = open_engine(tables, 5)
    yield engine
    await engine.dispose()


async def test_a_frozen_transaction_lets_go_of_its_locks(database: str) -> None:
    """A process frozen within a transaction, past its limit, neither keeps its locks nor ever commits."""
    lock = text("SELECT pg_advisory_xact_lock(1)")
    frozen, other = open_engine(database, 1, idle_transaction_seconds=0.2), open_engine(database, 1)
    holding = await frozen.connect()
    await holding.execute(lock)
    async with asyncio.timeout(20), other.begin() as waiting:
        await waiting.execute(lock)
    with pytest.raises(DBAPIError):
        await holding.execute(text("SELECT 1"))
    await holding.invalidate()
    await frozen.dispose()
    await other.dispose()


# -- schema -----------------------------------------------------------------------------------------------------------


async def test_the_schema_is_brought_to_date_once(empty) -> None:
    """An empty database has no revision; upgrading brings it to the newest, and again changes nothing."""
    before = await schema_version(empty)
    assert before.current is None
    assert not before.up_to_date
    await upgrade_schema(empty)
    first = await schema_version(empty)
    assert first.up_to_date
    await upgrade_schema(empty)
    assert await schema_version(empty) == first


async def test_a_failed_upgrade_leaves_nothing_half_done(empty) -> None:
    """Where a revision fails, the whole upgrade is rolled back and can be made again."""
    async with empty.begin() as connection:
        await connection.execute(text("CREATE SCHEMA portfolio"))
    with pytest.raises(Exception, match="portfolio"):
        await upgrade_schema(empty)
    assert (await schema_version(empty)).current is None
    async with empty.begin() as connection:
        await connection.execute(text("DROP SCHEMA portfolio"))
    await upgrade_schema(empty)
    assert (await schema_version(empty)).up_to_date


# -- outbox -----------------------------------------------------------------------------------------------------------


async def test_an_event_is_stored_once_with_its_route(engine) -> None:
    """Topic, partition and key are the contract's; an id that is there already stays as it is; order is kept."""
    topic_map = TopicMap(("paper",))
    outbox = Outbox("risk", topic_map)
    changed = rejection(1)
    changed.signal_rejected.message = "another"
    async with engine.begin() as connection:
        await outbox.add(connection, [])
        await outbox.add(connection, [rejection(1), rejection(2)])
        await outbox.add(connection, [changed, rejection(3)])
        rows = (await connection.execute(text("SELECT * FROM risk.outbox ORDER BY seq"))).all()
        assert await outbox.unpublished(connection) == 3
    assert [str(row.event_id) for row in rows] == [event_id(n) for n in (1, 2, 3)]
    assert Event.FromString(rows[0].value) == rejection(1)
    route = topic_map.route(rejection(1))
    assert (rows[0].topic, rows[0].partition, rows[0].key) == (route.topic, route.partition, route.key)


# -- requests ---------------------------------------------------------------------------------------------------------


async def test_the_same_request_gets_the_same_answer(engine) -> None:
    """The first claims, the second is given what was remembered; other callers and methods are others."""
    memory = RequestMemory("trading")
    async with engine.begin() as connection:
        assert await memory.claim(connection, KEY, BODY) is None
        await memory.remember(connection, KEY, ANSWER)
    async with engine.begin() as connection:
        answer = await memory.claim(connection, KEY, BODY)
        assert GetStatusResponse.FromString(answer) == ANSWER
        assert await memory.claim(connection, CommandKey("other", KEY.method, KEY.request_id), BODY) is None
        assert await memory.claim(connection, CommandKey(KEY.caller, "Cancel", KEY.request_id), BODY) is None


async def test_another_body_under_a_used_request_id_is_refused(engine) -> None:
    """The refusal names the request_id."""
    memory = RequestMemory("trading")
    async with engine.begin() as connection:
        await memory.claim(connection, KEY, BODY)
    with pytest.raises(RequestReused, match="'request-1' was used for another request"):
        async with engine.begin() as connection:
            await memory.claim(connection, KEY, GetStatusRequest(service="trading"))


async def test_commands_are_claimed_together(engine) -> None:
    """One statement claims those that are new, one more reads the others: each gets what it would get alone."""
    memory = RequestMemory("trading")
    other = GetStatusRequest(service="trading")
    keys = [CommandKey("desk", "PlaceOrder", name) for name in ("z", "request-1", "a", "z", "z")]
    async with engine.begin() as connection:
        await memory.claim(connection, KEY, BODY)
        await memory.remember(connection, KEY, ANSWER)
    async with engine.begin() as connection:
        commands = list(zip(keys, (BODY, BODY, BODY, BODY, other), strict=True))
        new, known, another, twin, reused = await memory.claim_all(connection, commands)
    assert (new, another, twin) == (None, None, b"")
    assert GetStatusResponse.FromString(known) == ANSWER
    assert isinstance(reused, RequestReused)


async def test_a_twin_waits_for_the_answer(engine) -> None:
    """Two of the same request at once have one effect; the later gets the earlier's answer."""
    memory = RequestMemory("trading")
    effects = []

    async def command() -> bytes:
        async with engine.begin() as connection:
            before = await memory.claim(connection, KEY, BODY)
            if before is not None:
                return before
            effects.append(1)
            await asyncio.sleep(0.05)
            await memory.remember(connection, KEY, ANSWER)
            return ANSWER.SerializeToString()

    answers = await asyncio.gather(*(command() for _ in range(4)))
    assert len(effects) == 1
    assert set(answers) == {ANSWER.SerializeToString()}


async def test_a_command_that_failed_may_be_sent_again(engine) -> None:
    """A rolled-back claim is forgotten; a claim without an answer gives b"" to the next."""
    memory = RequestMemory("trading")
    async with engine.connect() as connection:
        await memory.claim(connection, KEY, BODY)
        await connection.rollback()
    async with engine.begin() as connection:
        assert await memory.claim(connection, KEY, BODY) is None
    async with engine.begin() as connection:
        assert await memory.claim(connection, KEY, BODY) == b""
