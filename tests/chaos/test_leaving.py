"""A process that is asked to leave does so in time, whatever it waits for."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from cluster import SERVICES, Cluster
from running import until
from scenarios import more_orders, one_strategy, surviving, thaw

from alphapanda.app.process import STOP_SECONDS

pytestmark = pytest.mark.timeout(400)  # processes and real time: a busy machine needs longer


@contextmanager
def postgresql_frozen(cluster: Cluster) -> Iterator[None]:
    """PostgreSQL takes connections and answers nothing."""
    (pid_file,) = cluster.folder.rglob("postmaster.pid")
    postmaster = psutil.Process(int(pid_file.read_text().split()[0]))
    postmaster.suspend()
    frozen = [postmaster, *postmaster.children(recursive=True)]
    for process in frozen[1:]:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(frozen):
            process.resume()


def everybody_leaves(cluster: Cluster) -> None:
    """Asks every service to leave; each has left within the bound, and not by an error."""
    asked = time.monotonic()
    for service in SERVICES:
        cluster.members[service].process.send_signal(signal.SIGTERM)
    for service in SERVICES:
        left = asked + STOP_SECONDS - time.monotonic()
        assert cluster.members[service].process.wait(max(left, 0)) == 0, cluster.told(service)


def test_a_frozen_database_holds_nobody_up(cluster: Cluster):
    """With PostgreSQL frozen and an order at the broker, every service has left within the bound; nothing is lost."""
    with surviving(cluster, "left with PostgreSQL frozen") as survived:
        one_strategy(cluster, "leaving")
        cluster.lay("trading", "called", signal.SIGSTOP)
        until(lambda: cluster.stopped("trading"), 30, "an order in flight")
        with postgresql_frozen(cluster):
            thaw(cluster)
            time.sleep(1)  # so that its answer is on its way to the database
            everybody_leaves(cluster)
            survived.faults += 1
        assert "part.cut_off" in cluster.said("trading")
        cluster.start_services()
        more_orders(cluster, 2)


def test_kafka_that_is_gone_holds_nobody_up(cluster: Cluster) -> None:
    """With Kafka gone and orders flowing, every service has left within the bound; nothing is lost."""
    with surviving(cluster, "left with Kafka gone") as survived:
        one_strategy(cluster, "leaving")
        cluster.kafka.kill()
        try:
            time.sleep(1)  # so that something is on its way to it
            everybody_leaves(cluster)
            survived.faults += 1
        finally:
            cluster.kafka.start()
        cluster.start_services()
        more_orders(cluster, 2)


def test_an_ordinary_stop_cuts_nothing_off(cluster: Cluster):
    """With everything there and orders flowing each service leaves within the bound, and nothing is abandoned."""
    with surviving(cluster, "left in order") as survived:
        one_strategy(cluster, "leaving")
        for service in reversed(SERVICES):
            cluster.kill(service, signal.SIGTERM)
            assert cluster.members[service].process.returncode == 0
            assert "part.cut_off" not in cluster.said(service)
            survived.faults += 1
