"""What is done to the mesh's PostgreSQL and Redis (scorecard R6)."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Mapping, Sequence

from cluster import Cluster
from running import until
from scenarios import Survived, more_orders, surviving, trade_all

from alphapanda.domain.order import PositionEffect

WHO_NEEDS = {
    "postgres": {"instruments", "strategy", "risk", "trading", "portfolio"},
    "redis": {"marketdata", "risk", "trading", "portfolio"},
}
NAMED = {"postgres": "database", "redis": "redis"}


def stores_cut(cluster: Cluster, stores: Sequence[str], seconds: float) -> Survived:
    """PostgreSQL or Redis can't be reached for a while: who needs it says so, nothing passes, and it goes on by itself."""
    with surviving(cluster, f"{' and '.join(stores)} cut for {seconds:g} s") as survived:
        trade_all(cluster, "r6")
        for store in stores:
            proxy = getattr(cluster, store)
            cluster.soon(proxy.cut)
            survived.faults += 1
            try:
                try:
                    until(lambda store=store: all_tell(cluster, store), 20, f"readiness without {store}")
                except AssertionError as slow:
                    raise AssertionError(f"{slow}: {cluster.hindered()}") from slow
                before = executed(cluster, store)
                time.sleep(seconds)
                assert executed(cluster, store) == before, "it doesn't fail closed"
            finally:
                cluster.soon(proxy.mend)
            survived.recovered(cluster)
            more_orders(cluster, 5)
    return survived


def executed(cluster: Cluster, store: str) -> int:
    """Orders executed that nobody may execute without this store: none without PostgreSQL, no entry without Redis."""
    entries = f" AND effect <> {PositionEffect.REDUCES.value}" if store == "redis" else ""
    return cluster.count(f"trading.orders WHERE filled > 0{entries}")


def all_tell(cluster: Cluster, store: str) -> Mapping[str, str] | None:
    """What the services that need a store say hinders them, once all do."""
    hindered = cluster.hindered()
    return hindered if all(NAMED[store] in hindered.get(who, "") for who in WHO_NEEDS[store]) else None


def stores_slow_and_reset(cluster: Cluster, times: int, seed: int) -> Survived:
    """PostgreSQL and Redis answer late, and connections are reset again and again, while orders flow."""
    chance = random.Random(seed)
    with surviving(cluster, f"PostgreSQL and Redis slow, and reset, seed {seed}") as survived:
        trade_all(cluster, "r6")
        for _ in range(times):
            proxy = getattr(cluster, chance.choice(tuple(WHO_NEEDS)))
            if chance.random() < 0.5:
                proxy.delay = chance.choice((0.05, 0.3, 1.5))
                time.sleep(chance.uniform(0.5, 3.0))
                proxy.delay = 0.0
            else:
                cluster.soon(proxy.reset)
                time.sleep(chance.uniform(0.0, 1.0))
            survived.faults += 1
        survived.recovered(cluster)
        more_orders(cluster, 5)
    return survived


def database_stopped(cluster: Cluster, ways: Sequence[signal.Signals], seconds: float, seed: int) -> Survived:
    """PostgreSQL's process ends by these signals, at any moment while orders flow, and is started again after a while."""
    chance = random.Random(seed)
    names = ", ".join(way.name for way in ways)
    with surviving(
        cluster, f"PostgreSQL stopped by {names}, started after {seconds:g} s, seed {seed}"
    ) as survived:
        trade_all(cluster, "r6")
        for way in ways:
            time.sleep(chance.uniform(0.0, 1.0))
            before = {service: member.process.pid for service, member in cluster.members.items()}
            cluster.stop_database(way)
            survived.faults += 1
            try:
                until(lambda: all_tell(cluster, "postgres"), 20, "readiness without PostgreSQL")
                time.sleep(seconds)
            finally:
                cluster.start_database()
            survived.recovered(cluster)
            more_orders(cluster, 5)
            assert before == {service: member.process.pid for service, member in cluster.members.items()}
            assert all(member.process.poll() is None for member in cluster.members.values())
    return survived
