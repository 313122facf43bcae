"""A Kafka that lets nobody in without TLS and a password, as production wants it: the real one, every client of ours."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka_server import Guard, KafkaServer

from alphapanda.app.options import kafka_options
from alphapanda.app.prepare import ensure_topics
from alphapanda.contract.topics import TopicMap
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import LogUnavailable, Record, Start
from alphapanda.settings.model import Settings
from alphapanda.settings.sources import load_settings

PASSWORD = "made-up-and-long"  # pragma: allowlist secret


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of a broker at 127.0.0.1, who vouches for itself."""
    folder = tmp_path_factory.mktemp("certificate")
    key, told = folder / "key.pem", folder / "told.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kafka",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(told)],
        check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "broker.pem"
    both.write_text(key.read_text() + told.read_text())
    return both


@pytest.fixture(scope="module")
def guarded(
    start_kafka, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaServer]:
    """A Kafka by SASL_SSL."""
    server = start_kafka(Guard({"panda": PASSWORD}, certificate))
    yield server
    server.stop()


def settings(guarded: KafkaServer, certificate: Path, **other: str) -> Settings:
    """The settings of who may come in, but for `other`."""
    kafka = {
        "bootstrap_servers": guarded.bootstrap,
        "security_protocol": "SASL_SSL",
        "sasl_username": "panda",
        "sasl_password": PASSWORD,
        "ca_file": str(certificate),
        "request_timeout_seconds": "10",
        **other,
    }
    return load_settings({f"ALPHAPANDA_KAFKA__{name.upper()}": value for name, value in kafka.items()})


async def there_and_back(kafka: KafkaOptions, topic: str) -> list[bytes]:
    """What a group reads of what is published, by the clients for both, offsets and topics."""
    log = KafkaEventLog(kafka)
    await log.start()
    try:
        await log.publish([Record(topic, 0, b"key", b"guarded", ())])
        reader = log.group_reader(f"group-{kafka.sasl_mechanism}", [topic], Start.EARLIEST)
        await reader.start()
        async with asyncio.timeout(20):
            while not (found := await reader.fetch(10, 1.0)):
                pass
        await reader.commit({at: records[-1].offset + 1 for at, records in found.items()})
        assert await log.committed_offsets(f"group-{kafka.sasl_mechanism}")
        return [one.value for records in found.values() for one in records]
    finally:
        await log.stop()


async def test_every_client_comes_in_with_a_password_over_tls(guarded, certificate) -> None:
    """Topics are made, records published, read in a group and committed: by SCRAM and by PLAIN."""
    count, differing = await ensure_topics(settings(guarded, certificate))
    assert count > 10
    assert not differing
    topic = TopicMap(("paper",), ()).topic("signal_validated", "paper")
    for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"):
        kafka = kafka_options(settings(guarded, certificate, sasl_mechanism=mechanism).kafka)
        assert b"guarded" in await there_and_back(kafka, topic)
    environment = {
        f"ALPHAPANDA_KAFKA__{name.upper()}": str(getattr(kafka, name))
        for name in ("bootstrap_servers", "security_protocol", "sasl_username", "sasl_password", "ca_file")
    }
    tail = [sys.executable, "-c", "from alphapanda.cli import main; main()", "topics", "tail", topic]
    process = await asyncio.create_subprocess_exec(
        *tail, "--from", "beginning", "--limit", "1", stdout=subprocess.PIPE, env=environment
    )
    told, _ = await process.communicate()
    assert json.loads(told)["topic"] == topic


@pytest.mark.parametrize(
    "wrong",
    [
        {"sasl_password": "not-this-one"},  # pragma: allowlist secret
        {"sasl_username": "somebody"},
        {"ca_file": ""},
    ],
    ids=["password", "user", "certificate"],
)
async def test_who_may_not_come_in_is_told_how_it_tried_and_no_password(
    guarded, certificate, wrong, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password, a wrong user and a broker that nobody known vouches for: refused, without a secret in any line."""
    kafka = kafka_options(settings(guarded, certificate, **wrong).kafka)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(LogUnavailable, match=f"by SASL_SSL as '{kafka.sasl_username}'") as refused:
        await KafkaEventLog(kafka).start()
    said = f"{refused.value} {refused.value.__cause__!r} {kafka!r} {caplog.text}"
    assert PASSWORD not in said
    assert kafka.sasl_password not in said
