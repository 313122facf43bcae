"""The outbox relay between a real PostgreSQL and a real log."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import event, text

from alphapanda.eventlog.decode import from_record, to_record
from alphapanda.eventlog.port import LogUnavailable, Start
from alphapanda.resilience.backoff import Backoff
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.relay import OutboxRelay

PAYLOADS = ("trading_signal", "signal_validated")


@pytest.fixture
async def engine(tables: str):
    engine = open_engine(tables, 5)
    yield engine
    await engine.dispose()


@pytest.fixture
async def relays(engine, deployed, topic_map, policy):
    """Starts relays; stops them at the end."""
    started = []

    async def start(schema: str = "risk", log=deployed, **other) -> OutboxRelay:
        relay = OutboxRelay(
            engine=engine,
            log=log,
            batch_size=policy.batch_size,
            backoff=Backoff(policy.backoff_initial_seconds, policy.backoff_max_seconds),
            **({"outbox": Outbox(schema, topic_map), "poll_seconds": 30.0} | other),
        )
        await relay.start()
        started.append(relay)
        return relay

    yield start
    for relay in started:
        await relay.stop()


@pytest.fixture
def decide(engine, topic_map):
    """Stores events in an outbox, in a transaction of their own."""

    async def decide(*events, schema: str = "risk") -> None:
        async with engine.begin() as connection:
            await Outbox(schema, topic_map).add(connection, events)

    return decide


@pytest.fixture
def on_the_log(deployed, topic_map):
    async def read() -> list:
        reader = deployed.topic_reader(topic_map.topics(*PAYLOADS), Start.EARLIEST)
        await reader.start()
        found = []
        while some := await reader.fetch(1000, 0.0):
            found += some
        return found

    return read


def event_ids(records) -> list[str]:
    return [dict(record.headers)["ce_id"].decode() for record in records]


class UnreliableLog:
    """A log that fails before or after it has appended."""

    def __init__(self, log) -> None:
        self.log = log
        self.away = 0
        self.crash_after_append = False

    async def publish(self, records):
        if self.away:
            self.away -= 1
            raise LogUnavailable("away")
        offsets = await self.log.publish(records)
        if self.crash_after_append:
            raise asyncio.CancelledError
        return offsets


async def test_a_mark_does_not_wait_for_the_disk(engine, relays, decide, eventually, signal) -> None:
    """A crash of the server may lose it: the event is then published again, as after a crash before the mark."""
    sent: list[str] = []
    event.listen(
        engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: sent.append(statement),
    )
    relay = await relays()
    await decide(signal(1))
    await eventually(lambda: relay.published == 1)
    marked = next(number for number, one in enumerate(sent) if one.startswith("UPDATE risk.outbox"))
    assert any("set_config('synchronous_commit', 'off', false)" in one for one in sent[:marked])


async def test_a_stop_publishes_what_was_committed_before(
    relays, decide, on_the_log, eventually, signal
) -> None:
    """What the last part of a service decided as it ended is on the log when the service has left."""
    for number in range(1, 6):
        relay = await relays()
        await eventually(relay.idle)
        await decide(signal(number))
        await relay.stop()
        assert len(await on_the_log()) == number


async def test_a_stop_does_not_wait_for_a_log_that_is_away(
    relays, decide, deployed, engine, eventually, signal, topic_map
) -> None:
    """It ends at once; what is unpublished stays for the next relay."""
    log = UnreliableLog(deployed)
    log.away = 10**6
    relay = await relays(log=log)
    await decide(signal(1))
    await eventually(lambda: not relay.serving)
    async with asyncio.timeout(20):
        await relay.stop()
    assert await relay.pending() == 1


async def test_a_commit_wakes_the_relay(relays, decide, on_the_log, eventually, signal, topic_map) -> None:
    """What is committed is on the log at once (the poll is far away), as to_record would have put it there."""
    relay = await relays()
    await eventually(relay.idle)
    async with asyncio.timeout(20):
        await decide(signal(1))
        await eventually(lambda: relay.published == 1)
    [record] = await on_the_log()
    expected = to_record(signal(1), topic_map)
    assert (record.topic, record.partition, record.key) == (expected.topic, expected.partition, expected.key)
    assert (record.value, record.headers) == (expected.value, expected.headers)
    assert from_record(record, topic_map) == signal(1)
    await eventually(relay.idle)
    assert await relay.pending() == 0


async def test_a_rolled_back_transaction_publishes_nothing(
    relays, engine, decide, on_the_log, eventually, signal, topic_map
) -> None:
    """Events exist if and only if their decision does."""
    relay = await relays()
    async with engine.connect() as connection:
        await Outbox("risk", topic_map).add(connection, [signal(1)])
        await connection.rollback()
    await decide(signal(2))
    await eventually(lambda: relay.published == 1)
    assert event_ids(await on_the_log()) == [signal(2).event_id]


async def test_order_is_kept_per_aggregate_whatever_commits_first(
    relays, engine, decide, on_the_log, eventually, signal, topic_map
) -> None:
    """A late commit with a lower seq is neither passed over nor in anybody's way."""
    outbox = Outbox("risk", topic_map)
    relay = await relays()
    async with engine.connect() as late:
        await outbox.add(late, [signal(1, strategy="slow"), signal(2, strategy="slow")])
        for n in range(10):
            await decide(signal(n, strategy="fast"))
        await eventually(lambda: relay.published == 10)
        await late.commit()
    await eventually(lambda: relay.published == 12)
    found = event_ids(await on_the_log())
    for strategy, numbers in (("fast", range(10)), ("slow", (1, 2))):
        mine = [signal(n, strategy=strategy).event_id for n in numbers]
        assert [one for one in found if one in mine] == mine


async def test_more_than_a_batch_is_published_in_order(
    relays, decide, on_the_log, eventually, signal, policy
) -> None:
    """A backlog larger than a batch goes out whole and in order."""
    events = [signal(n) for n in range(policy.batch_size + 20)]
    await decide(*events)
    relay = await relays()
    await eventually(lambda: relay.published == len(events))
    assert event_ids(await on_the_log()) == [event.event_id for event in events]


async def test_a_crash_between_publish_and_mark_repeats_the_same_ids(
    relays, decide, on_the_log, eventually, signal, deployed
) -> None:
    """The next relay publishes the batch again, id by id the same, and goes on: nothing lost, nothing new."""
    log = UnreliableLog(deployed)
    log.crash_after_append = True
    await decide(signal(1), signal(2))
    crashed = await relays(log=log)
    await eventually(crashed._task.done)
    assert await crashed.pending() == 2
    await decide(signal(3))
    second = await relays()
    await eventually(lambda: second.published == 3)
    one, two, three = (signal(n).event_id for n in (1, 2, 3))
    assert event_ids(await on_the_log()) == [one, two, one, two, three]
    assert await second.pending() == 0


async def test_a_log_that_is_away_delays_and_loses_nothing(
    relays, decide, on_the_log, eventually, signal, deployed
) -> None:
    """The relay says that it doesn't serve and why, tries on, and publishes in order when the log is back."""
    log = UnreliableLog(deployed)
    log.away = 1_000_000
    relay = await relays(log=log)
    await decide(signal(1), signal(2))
    await eventually(lambda: not relay.serving)
    assert relay.last_error == "LogUnavailable: away"
    assert not relay.idle()
    log.away = 0
    await eventually(lambda: relay.published == 2)
    await eventually(lambda: relay.serving)
    assert event_ids(await on_the_log()) == [signal(1).event_id, signal(2).event_id]


async def test_a_lost_connection_is_made_anew(relays, engine, decide, on_the_log, eventually, signal) -> None:
    """Killed by the server, the relay connects, takes the lock and listens again."""
    relay = await relays()
    await decide(signal(1))
    await eventually(lambda: relay.published == 1)
    for n in (2, 3):
        async with engine.connect() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            )
        await decide(signal(n))
        await eventually(lambda n=n: relay.published == n)
    assert event_ids(await on_the_log()) == [signal(n).event_id for n in (1, 2, 3)]


async def test_one_relay_a_schema_and_the_next_takes_over(
    relays, decide, on_the_log, eventually, signal
) -> None:
    """Of two relays one publishes; when it goes the other does."""
    first = await relays()
    await decide(signal(1))
    await eventually(lambda: first.published == 1)
    second = await relays(poll_seconds=0.02)
    await decide(signal(2))
    await eventually(lambda: first.published == 2)
    await asyncio.sleep(0.1)
    assert second.published == 0
    assert second.serving
    await first.stop()
    await decide(signal(3))
    await eventually(lambda: second.published == 1)
    assert event_ids(await on_the_log()) == [signal(n).event_id for n in (1, 2, 3)]


async def test_a_frozen_relay_is_succeeded(relays, decide, on_the_log, eventually, signal) -> None:
    """One that holds the lock and says nothing any more, as a frozen process does, loses it to the one that stands by."""

    async def never(_: float) -> None:
        await asyncio.Event().wait()

    frozen = await relays(silence_seconds=0.3, sleep=never)
    await decide(signal(1))
    await eventually(lambda: frozen.published == 1)
    second = await relays(poll_seconds=0.05)
    await asyncio.sleep(0.5)
    await decide(signal(2))
    await eventually(lambda: second.published == 1)
    assert frozen.published == 1
    assert event_ids(await on_the_log()) == [signal(n).event_id for n in (1, 2)]


async def test_a_relay_that_stands_by_asks_once_a_wake(relays, engine, decide, eventually, signal) -> None:
    """It hears every commit too, and asks for the lock once each time: never again and again."""
    asked = []
    event.listen(
        engine.sync_engine,
        "before_cursor_execute",
        lambda *told: asked.append(1) if "pg_try_advisory_lock" in told[2] else None,
    )
    publishes = await relays()
    await eventually(publishes.idle)
    standing_by = await relays()
    await eventually(standing_by.idle)
    await decide(signal(1))
    await eventually(lambda: publishes.published == 1 and standing_by.idle())
    for _ in range(20):  # turns in which a hot one would ask on
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    assert len(asked) <= 4


async def test_schemas_are_relayed_each_for_itself(relays, decide, on_the_log, eventually, signal) -> None:
    """Two schemas' relays run side by side, each on its own rows."""
    risk, trading = await relays("risk"), await relays("trading")
    await decide(signal(1), schema="risk")
    await decide(signal(2), signal(3), schema="trading")
    await eventually(lambda: (risk.published, trading.published) == (1, 2))
    assert sorted(event_ids(await on_the_log())) == sorted(signal(n).event_id for n in (1, 2, 3))


async def test_a_missed_notification_costs_a_poll(relays, engine, decide, eventually, signal) -> None:
    """A row that came without NOTIFY is found by the slow look."""
    relay = await relays(poll_seconds=0.05)
    await decide(signal(1))
    await eventually(lambda: relay.published == 1)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE risk.outbox SET published_at = NULL"))
    await eventually(lambda: relay.published == 2)


async def test_a_writer_in_the_same_process_wakes_the_relay(
    relays, engine, decide, eventually, signal, topic_map
) -> None:
    """It needs no NOTIFY for that, which comes later than the commit's own answer."""
    outbox = Outbox("risk", topic_map)
    relay = await relays(outbox=outbox)
    await decide(signal(1))
    await eventually(lambda: relay.published == 1)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE risk.outbox SET published_at = NULL"))
    outbox.committed()
    await eventually(lambda: relay.published == 2)
