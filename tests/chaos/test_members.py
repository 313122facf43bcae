"""Members of a group that freeze, die for good, come and go: no order is sent twice, and none is left behind."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from cluster import Cluster
from frozen_strategies import STEPS, frozen_strategies
from pulses import check_pulses
from scenarios import a_dead_member_s_orders, frozen_senders, members_come_and_go

from alphapanda.domain.order import PositionEffect

pytestmark = pytest.mark.timeout(400)  # processes and real time: a busy machine needs longer


def test_a_frozen_sender_never_sends_late(cluster: Cluster):
    """Stopped between commit and call, of an entry and of an exit, and thawed when all is over, a member sends nothing."""
    survived = frozen_senders(cluster, [PositionEffect.OPENS, PositionEffect.REDUCES])
    assert survived.faults == 2


def test_what_a_dead_member_was_looking_up_ends(cluster: Cluster):
    """A member that dies for good leaves no order open: the other one goes on with those it was looking up."""
    assert a_dead_member_s_orders(cluster).absent == 1


def test_a_frozen_strategy_process_doubles_and_tears_nothing(cluster: Cluster):
    """Stopped with signals in hand and thawed when another has its partitions, it says nothing new and nothing twice over."""
    assert frozen_strategies(cluster, 1).faults == len(STEPS)
    evidence = cluster.evidence()
    missed = next(event.event_id for event in evidence.of("trading_signal"))
    kept = {event_id: event for event_id, event in evidence.events.items() if event_id != missed}
    with pytest.raises(AssertionError, match=r"\d+ signals, \d+ due"):
        check_pulses(replace(evidence, events=kept))  # so it would have told


def test_members_come_and_go(cluster: Cluster):
    """Second members of risk, trading and portfolio join, leave, die and freeze while orders flow."""
    members_come_and_go(cluster, 5, seed=random.randrange(10_000))
