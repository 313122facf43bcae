"""How Kafka's clients are set: what makes money durable and in order, and what makes frames cheap."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest

from alphapanda.eventlog.kafka import client as kafka_client
from alphapanda.eventlog.kafka.client import KafkaClients
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import Start


@pytest.fixture
def asked(monkeypatch) -> dict[str, Any]:
    """The options that the last client was made with."""
    options: dict[str, Any] = {}

    def make(**given: Any) -> None:
        options.clear()
        options.update(given)

    monkeypatch.setattr(kafka_client, "AIOKafkaProducer", make)
    monkeypatch.setattr(kafka_client, "AIOKafkaConsumer", make)
    return options


@pytest.mark.parametrize("bulk", [False, True])
def test_what_is_acknowledged_is_on_every_copy_and_once(asked, bulk: bool) -> None:
    """Either producer waits for all copies in sync, and a send that it repeats adds no record."""
    KafkaClients(KafkaOptions()).producer(bulk=bulk)
    assert (asked["acks"], asked["enable_idempotence"]) == ("all", True)


def test_frames_alone_are_compressed_and_wait_for_company(asked) -> None:
    """Money goes at once and as it is; frames by lz4 after 5 ms, or as settings say."""
    clients = KafkaClients(KafkaOptions())
    clients.producer(bulk=False)
    assert (asked["compression_type"], asked["linger_ms"]) == (None, 0)
    clients.producer(bulk=True)
    assert (asked["compression_type"], asked["linger_ms"]) == ("lz4", 5)
    KafkaClients(KafkaOptions(compression="none", linger_ms=20)).producer(bulk=True)
    assert (asked["compression_type"], asked["linger_ms"]) == (None, 20)
    KafkaClients(KafkaOptions(compression="gzip")).producer(bulk=True)
    assert asked["compression_type"] == "gzip"


def test_a_consumer_commits_nothing_by_itself(asked) -> None:
    """Commits come after effects: auto-commit is off, and a lost offset begins at the first record kept."""
    clients = KafkaClients(KafkaOptions())
    for group in (None, "risk.signals"):
        clients.consumer(group)
        assert (asked["enable_auto_commit"], asked["auto_offset_reset"]) == (False, "earliest")


def test_a_member_is_static_where_the_process_has_a_name(asked) -> None:
    """kafka.instance_id is the member's; without one, and without a group, there is none."""
    KafkaClients(KafkaOptions(instance_id="risk-0", group_prefix="desk")).consumer("risk.signals")
    assert (asked["group_id"], asked["group_instance_id"]) == ("desk.risk.signals", "risk-0")
    KafkaClients(KafkaOptions(instance_id="risk-0")).consumer()
    assert (asked["group_id"], asked["group_instance_id"]) == (None, None)
    KafkaClients(KafkaOptions()).consumer("risk.signals")
    assert asked["group_instance_id"] is None


def test_a_silent_member_is_told_by_its_heartbeats_alone(asked) -> None:
    """Session of settings, ten heartbeats in it, two sessions to let go; a handler may wait for hours."""
    KafkaClients(KafkaOptions(session_timeout_seconds=6.0)).consumer("risk.signals")
    assert (asked["session_timeout_ms"], asked["heartbeat_interval_ms"]) == (6_000, 600)
    assert asked["rebalance_timeout_ms"] == 12_000
    assert asked["max_poll_interval_ms"] >= 24 * 3_600_000


def test_a_log_keeps_no_reader_that_nobody_has_any_more() -> None:
    """A log that is read again and again, for a letter or a tail, doesn't grow with every reader there ever was."""
    log = KafkaEventLog(KafkaOptions())
    kept, gone = (log.topic_reader(["t"], Start.LATEST) for _ in range(2))
    readers = ref(kept), ref(gone)
    del gone
    gc.collect()
    assert [reader() for reader in readers] == [kept, None]
