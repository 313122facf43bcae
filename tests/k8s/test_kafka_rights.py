"""Kafka's users of deploy/k8s on a real Kafka that enforces their rights: the mesh trades, and nobody may do more."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import pytest
from kafka_server import missing_for_kafka
from mesh import PROGRAM, seed_demo
from rights import MeshWithRights

from alphapanda.app.options import kafka_options
from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.port import LogUnavailable, Record
from alphapanda.settings.sources import load_settings

pytestmark = pytest.mark.timeout(600)  # eight processes on a machine that may be busy

UP_SECONDS = 240.0
REFUSED = r"(?i)authorization"
REFUSALS = ("AuthorizationFailed", "AUTHORIZATION_FAILED", "not authorized")


@pytest.fixture(scope="module")
def mesh(require_or_skip: Callable[[str], NoReturn]) -> Iterator[MeshWithRights]:
    """Kafka with its users, PostgreSQL, Redis, every service a process with a user of its own; the demo's strategies run."""
    if missing := missing_for_kafka():
        require_or_skip(missing)
    folder = Path(tempfile.mkdtemp(prefix="panda-rights-", dir="/tmp"))
    mesh = MeshWithRights(folder / "m")
    with asyncio.Runner() as runner:
        try:
            runner.run(mesh.start(()))
            runner.run(mesh.grant())
            for service in mesh.services:
                mesh.start_service(service)
            runner.run(seed_demo(mesh.environment, UP_SECONDS))
            yield mesh
        finally:
            runner.run(mesh.stop())
            shutil.rmtree(folder, ignore_errors=True)


def asked(
    mesh: MeshWithRights, *arguments: str, user: str = "alphapanda-ops"
) -> subprocess.CompletedProcess[str]:
    """What a command answers, asked with a user's rights in Kafka."""
    environment = {**os.environ, **mesh.environment, **mesh.credentials(user)}
    return subprocess.run([PROGRAM, *arguments], env=environment, capture_output=True, text=True, check=False)


def answer(mesh: MeshWithRights, *arguments: str) -> dict[str, Any]:
    """What a command answers as JSON; it must end well."""
    done = asked(mesh, *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def until(mesh: MeshWithRights, holds: Callable[[], bool], what: str) -> None:
    """Waits until something holds; else says what each service has written last."""
    deadline = time.monotonic() + UP_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what + "".join(
            f"\n{name}: {mesh.log(name)[-1500:]}" for name in mesh.processes
        )
        time.sleep(1)


def test_the_mesh_trades_with_these_rights(mesh: MeshWithRights) -> None:
    """All services serve, strategies trade, an order by hand is booked; Kafka has refused nothing."""

    def serving() -> bool:
        done = asked(mesh, "status", "--json")
        if done.returncode:
            return False
        return {one["state"] for one in json.loads(done.stdout)["services"]} == {"SERVICE_STATE_SERVING"}

    until(mesh, serving, "not every service serves")
    placed = answer(mesh, "orders", "place", "buy", "NSE:INFY", "10", "--request-id", uuid4().hex)
    order = placed["order"]["state"]["orderId"]

    def traded() -> bool:
        orders = [one["state"] for one in answer(mesh, "orders")["orders"]]
        filled = {one["orderId"] for one in orders if one["status"] == "ORDER_STATUS_FILLED"}
        return order in filled and len(filled) > 1

    until(mesh, traded, "the order by hand and one of a strategy are not filled")
    until(mesh, lambda: len(answer(mesh, "positions").get("positions", ())) > 0, "nothing is booked")
    assert asked(mesh, "orders", "square-off", "--broker", "paper").returncode == 0
    assert answer(mesh, "dlq", "list").get("letters", []) == []
    for name in mesh.processes:
        assert not any(word in mesh.log(name) for word in REFUSALS), mesh.log(name)[-3000:]


def test_the_topics_job_may_look_and_nothing_else(mesh: MeshWithRights) -> None:
    """Strimzi made the topics: the Job finds them all there."""
    done = asked(mesh, "topics", "ensure", user="alphapanda-topics")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "topics are there" in done.stdout


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("alphapanda-portfolio", "paper.signals.raw"),
        ("alphapanda-strategy", "paper.signals.validated"),
        ("alphapanda-marketdata", "control.killswitch"),
        ("alphapanda-risk", "paper.orders.filled"),
        ("alphapanda-auth", "market.ticks"),
    ],
)
async def test_a_user_can_not_write_what_its_service_does_not(
    mesh: MeshWithRights, user: str, topic: str
) -> None:
    """A service that was taken over can't forge a verdict or a fill."""
    settings = load_settings({**mesh.environment, **mesh.credentials(user)}, dotenv=mesh.folder / "none")
    log = KafkaEventLog(replace(kafka_options(settings.kafka), request_timeout_seconds=3.0))
    await log.start()
    try:
        with pytest.raises(LogUnavailable, match=REFUSED):
            await log.publish([Record(topic, 0, b"key", b"value", ())])
    finally:
        await log.stop()


async def test_a_user_can_not_read_what_its_service_does_not(mesh: MeshWithRights) -> None:
    """Auth sees that there are ticks, not what is in them."""
    settings = load_settings(
        {**mesh.environment, **mesh.credentials("alphapanda-auth")}, dotenv=mesh.folder / "none"
    )
    log = KafkaEventLog(replace(kafka_options(settings.kafka), request_timeout_seconds=3.0))
    await log.start()
    try:
        ends = await log.end_offsets(["market.ticks"])
        assert sum(ends.values()) > 0
        reader = log.topic_reader(
            ["market.ticks"], {TopicPartition("market.ticks", at): 0 for at in range(4)}
        )
        await reader.start()
        with pytest.raises(LogUnavailable, match=REFUSED):
            await reader.fetch(10, 3.0)
    finally:
        await log.stop()
