"""A member of the strategies' group freezes past its session and thaws when another has its partitions."""

from __future__ import annotations

import signal

from cluster import Cluster
from running import until
from scenarios import RECOVERY_SECONDS, Survived, more_orders, surviving, thaw, trade_all

SECOND = "strategy-2"
STEPS = ("publishing", "published")


def frozen_strategies(cluster: Cluster, times: int) -> Survived:
    """Frozen with signals in hand, unsent or just sent; what it had begun it may say again, in the same words, no more.

    That nothing was doubled or torn is proven at the end: the signals are those that the frames on the log ask for, no
    two records of one id differ, and each became one order at most.
    """
    repeated = cluster.proven.repeated
    with surviving(cluster, "a strategy process frozen past its session, thawed too late") as survived:
        cluster.launch("strategy", SECOND)
        cluster.wait_until_ready(SECOND)
        trade_all(cluster, "frozen")
        for step in STEPS * times:
            spell = cluster.lay("strategy", step, signal.SIGSTOP)
            until(lambda spell=spell: not spell.exists(), 30, f"a strategy process {step}")
            until(lambda: cluster.stopped("strategy"), 10, "a frozen strategy process")
            try:
                taken = _epochs(cluster)
                until(
                    lambda taken=taken: _all_later(_epochs(cluster), taken), RECOVERY_SECONDS, "a successor"
                )
                more_orders(cluster, 2)
            finally:
                thaw(cluster, "strategy")
            taken = _epochs(cluster)
            until(lambda taken=taken: _epochs(cluster) != taken, RECOVERY_SECONDS, "the thawed one's return")
            more_orders(cluster, 2)
            survived.faults += 1
        cluster.dismiss(SECOND)
    # Each had signals in hand that its successor sent, too: else nobody was overtaken at work.
    assert cluster.proven.repeated >= repeated + survived.faults
    return survived


def _epochs(cluster: Cluster) -> dict[int, int]:
    """How often each partition was taken."""
    return {
        row["partition"]: row["epoch"] for row in cluster.fetch("SELECT * FROM strategy.partition_owners")
    }


def _all_later(epochs: dict[int, int], before: dict[int, int]) -> bool:
    return all(epochs[partition] > epoch for partition, epoch in before.items())
