"""PostgreSQL is restored to an earlier time under a mesh whose Kafka and broker remember what came after."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import NoReturn

import fork_server
import pytest
from cluster import ALPHAPANDA, SERVICES, Cluster
from kafka_server import missing_for_kafka
from running import until
from scenarios import SYMBOLS
from sqlalchemy import make_url

from alphapanda.embedded.postgres_programs import run_client
from panda.common.v1.common_pb2 import TRADING_STATE_ACTIVE, TRADING_STATE_HALTED
from panda.risk.v1.risk_pb2 import GetKillSwitchRequest, ReconcileBrokerRequest
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub

pytestmark = pytest.mark.timeout(600)  # processes and real time: a busy machine needs longer

# What the broker knows isn't restored: the paper exchange stands for it.
BROKERS_OWN = "paper_exchange"


@pytest.fixture
def mesh(require_or_skip: Callable[[str], NoReturn]) -> Iterator[Cluster]:
    if (reason := missing_for_kafka()) is not None:
        require_or_skip(reason)
    with tempfile.TemporaryDirectory(prefix="panda-") as folder, Cluster(Path(folder)) as cluster:
        cluster.start_services()
        yield cluster


def client(mesh: Cluster, name: str, *arguments: str) -> None:
    asyncio.run(run_client(name, *arguments, url=make_url(mesh.database_url)))


def tags(mesh: Cluster) -> list[str]:
    """What the broker was asked to place, in order, from its own journal."""
    found = mesh.fetch("SELECT tag FROM paper_exchange.calls WHERE what = 'place' ORDER BY seq")
    return [row["tag"] for row in found]


def stop_services(mesh: Cluster) -> None:
    for service in reversed(SERVICES):
        mesh.kill(service, signal.SIGTERM)


def command(mesh: Cluster, *arguments: str) -> CompletedProcess[str]:
    return fork_server.run([ALPHAPANDA, *arguments], env=mesh._environment, cwd=mesh.folder)


def restore(mesh: Cluster, dump: Path) -> None:
    """Puts everything but the broker's own back to the time of the dump."""
    schemas = mesh.fetch(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)'"
    )
    for row in schemas:
        if row["nspname"] != BROKERS_OWN:
            client(mesh, "psql", "--quiet", "--command", f"DROP SCHEMA {row['nspname']} CASCADE")
    client(mesh, "psql", "--quiet", "--command", "DROP TABLE public.alembic_version")
    client(mesh, "pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", str(dump))


def reconcile_by_hand(mesh: Cluster, risk: RiskServiceStub) -> None:
    """Has the broker compared, which differs, and accepts that."""
    differing = ReconcileBrokerRequest(request_id="compared", broker="paper")
    answer = mesh.patiently(lambda: risk.ReconcileBroker(differing, timeout=10))
    assert not answer.released
    assert answer.differences, "the broker knows of orders that the database has forgotten"
    accepted = ReconcileBrokerRequest(
        request_id="accepted", broker="paper", accept_differences=True, reason="compared by hand"
    )
    assert mesh.patiently(lambda: risk.ReconcileBroker(accepted, timeout=10)).released
    asked = GetKillSwitchRequest(broker="paper")
    assert risk.GetKillSwitch(asked, timeout=5).kill_switch.state == TRADING_STATE_ACTIVE


def test_a_restored_database_decides_nothing_again(mesh: Cluster) -> None:
    """Refused; taken over: brokers halted until a person has reconciled them, nothing sent twice, lost bookings made up for."""
    mesh.trade("restored", cycle=2, every=2, symbols=SYMBOLS, quantity=10)
    mesh.wait_for_orders(12)
    mesh.kill("portfolio")  # it books what comes now only after the time that will be restored
    booked = mesh.count("portfolio.fills")
    until(lambda: mesh.count("trading.fills") > booked + 6, 60, "fills that aren't booked")
    dump = mesh.folder / "earlier.dump"
    client(mesh, "pg_dump", "--format=custom", f"--exclude-schema={BROKERS_OWN}", f"--file={dump}")
    mesh.start_services()
    orders = mesh.count("trading.orders")
    mesh.wait_for_orders(orders + 12)
    mesh.come_to_rest()
    running = command(mesh, "db", "restored", "--force")
    assert running.returncode == 1
    assert "stop every service" in running.stderr
    stop_services(mesh)
    sent = tags(mesh)

    restore(mesh, dump)
    assert mesh.count("trading.orders") < len(sent)
    assert mesh.count("portfolio.fills") < mesh.count("trading.fills")

    refused = command(mesh, "serve", "trading", "--port", "0")
    assert refused.returncode == 1
    assert "which trading never decided" in refused.stderr
    assert "run `alphapanda db restored`" in refused.stderr
    assert "run `alphapanda db restored`" in " ".join(
        command(mesh, "doctor", "--mesh", "--json").stdout.split()
    )
    taken_over = mesh.command("db", "restored")
    assert "order events are published again" in taken_over
    again = command(mesh, "db", "restored")
    assert again.returncode == 0
    assert "nothing to take over" in again.stdout

    mesh.start_services()
    risk = RiskServiceStub(mesh.channel("risk"))
    asked = GetKillSwitchRequest(broker="paper")
    assert (
        mesh.patiently(lambda: risk.GetKillSwitch(asked, timeout=5)).kill_switch.state == TRADING_STATE_HALTED
    )
    until(
        lambda: mesh.count("portfolio.fills") == mesh.count("trading.fills"), 60, "lost bookings made up for"
    )
    verdicts = mesh.count("risk.verdicts")
    until(lambda: mesh.count("risk.verdicts") > verdicts + 3, 60, "strategies asking for orders")
    assert tags(mesh) == sent, "an order was sent while the broker was halted"

    reconcile_by_hand(mesh, risk)
    # Each position trades on: nothing is held for an order that the database has forgotten.
    until(lambda: len(tags(mesh)) >= len(sent) + 2 * len(SYMBOLS), 60, "new orders")
    mesh.come_to_rest()
    assert tags(mesh)[: len(sent)] == sent
    assert max(Counter(tags(mesh)).values()) == 1, "an order was sent twice"
    held = "SELECT strategy_id, instrument_id, quantity FROM {}.positions WHERE quantity <> 0 ORDER BY 1, 2"
    assert mesh.fetch(held.format("portfolio")) == mesh.fetch(held.format("trading"))
    assert mesh.fetch(held.format("risk")) == mesh.fetch(held.format("trading"))
