"""Kafka, PostgreSQL and Redis go, stall and come back: services say so, fail closed and go on by themselves."""

from __future__ import annotations

import random
import signal

import pytest
from cluster import Cluster
from scenarios import without_kafka
from stores import database_stopped, stores_cut, stores_slow_and_reset

pytestmark = pytest.mark.timeout(400)  # processes and real time: a busy machine needs longer


def test_kafka_goes_and_comes_back(cluster: Cluster):
    """Without Kafka for a while nothing is lost; entries that became stale meanwhile expire and aren't executed."""
    assert without_kafka(cluster, [2]).expired


def test_postgresql_and_redis_are_cut(cluster: Cluster):
    """Without PostgreSQL nothing passes, without Redis no entry does; readiness names what is away, and then recovers."""
    assert len(stores_cut(cluster, ["postgres", "redis"], 1).recoveries) == 2


def test_postgresql_and_redis_are_slow_and_reset(cluster: Cluster):
    """Late answers and reset connections of PostgreSQL and Redis lose and repeat nothing."""
    assert stores_slow_and_reset(cluster, 5, seed=random.randrange(10_000)).faults == 5


def test_postgresql_stops_and_starts_again(cluster: Cluster):
    """Killed, and asked to stop, while orders flow: no service ends with it, and what it had committed is all there is."""
    ways = [signal.SIGKILL, signal.SIGINT]
    survived = database_stopped(cluster, ways, 0.5, seed=random.randrange(10_000))
    assert len(survived.recoveries) == 2
