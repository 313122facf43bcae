"""Malformed records among good ones, on real Kafka through the real services."""

from __future__ import annotations

import random

import pytest
from cluster import Cluster
from malformed import malformed_records

pytestmark = pytest.mark.timeout(400)  # processes and real time: a busy machine needs longer

RECORDS = 400


def test_malformed_records_hold_up_nobody(cluster: Cluster):
    """With one behind every good record, all are set aside with reason and offset, and every good one is handled in order."""
    survived = malformed_records(cluster, RECORDS, seed=random.randrange(10_000))
    assert survived.faults == RECORDS == len(cluster.malformed)
