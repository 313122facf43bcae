"""Kill -9 of services of the mesh, at each step of an order and at any moment: nothing is lost, nothing happens twice."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from cluster import Cluster
from scenarios import FOUND, kills_at_steps, one_strategy, random_kills, surviving
from story import account_of, prove, story

pytestmark = pytest.mark.timeout(400)  # processes and real time: a busy machine needs longer

ORDERS = 100
STEPS = (
    *(("trading", step) for step in (*FOUND, "published", "handled")),
    *(("risk", step) for step in ("published", "handled")),
    ("strategy", "published"),
)


def test_kills_at_each_step(cluster: Cluster):
    """Killed at any step between receiving and committing, a service goes on, and only an order never sent is absent."""
    survived = kills_at_steps(cluster, STEPS, 1)
    assert survived.faults == len(STEPS)


def test_kills_at_any_moment(cluster: Cluster):
    """Services killed at random while strategies and a person trade end with every order executed once and booked once."""
    survived = random_kills(cluster, ORDERS, seed=random.randrange(10_000))
    assert survived.orders >= ORDERS
    assert survived.recoveries


def test_the_check_tells_the_story_of_what_went_wrong(cluster: Cluster):
    """A signal whose end is missing is found, and told with its verdict, its row, its call and its events."""
    with surviving(cluster, "an order to tell of"):
        one_strategy(cluster, "told")
    evidence = cluster.evidence()
    told = {"order_submitted", "order_filled", "order_failed", "order_cancelled"}
    ended = next(event for event in evidence.of("order_filled"))
    order_id = ended.order_filled.order.order_id
    kept = {
        event_id: event
        for event_id, event in evidence.events.items()
        if event.WhichOneof("payload") not in told
        or getattr(event, event.WhichOneof("payload")).order.order_id != order_id
    }
    harmed = replace(evidence, events=kept)
    (lost,) = account_of(harmed).lost
    assert (
        str(next(row for row in evidence.rows("orders") if str(row["order_id"]) == order_id)["signal_id"])
        == lost
    )
    with pytest.raises(AssertionError, match=rf"1 lost, 0 duplicate.*\n\nsignal {lost}\n  verdict .*"):
        prove(harmed)
    for part in ("verdict", "order", "intent", "call", "trade", "event"):
        assert f"\n  {part} " in story(evidence, lost)
