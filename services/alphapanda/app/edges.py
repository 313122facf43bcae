"""What each service opens: calls of other services, topics that it reads and writes, consumer groups.

Network policies and the rights of Kafka's users are made of it (`tools/k8s.py`); `tests/unit/app/test_edges.py` holds it to the
code that opens them. Every service also opens PostgreSQL, Redis and Kafka.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from alphapanda.app.groups import GROUPS
from alphapanda.app.log_agreement import OUTBOXES
from alphapanda.app.security import SERVICES
from alphapanda.app.zerodha import CALLERS
from alphapanda.consuming.known_strategies import PAYLOAD as STRATEGIES
from alphapanda.contract.topics import TopicMap, dead_letter_topic
from alphapanda.strategy.order_tail import PAYLOADS as ORDERS

ASKED_BY_ALL: Final = ("instruments", "auth")
"""Services that every other one asks: for the instruments when it starts, for what was revoked as long as it runs."""

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "strategy": ("marketdata",),
    "marketdata": ("portfolio",),
    "risk": ("trading", "portfolio"),
    "trading": ("risk",),
    "portfolio": ("trading", "risk"),
    "ops": tuple(name for name in SERVICES if name != "ops"),
}
"""Further services that a service calls."""

AT_THE_BROKER: Final = tuple(name for name in SERVICES if name in CALLERS or name == "auth")
"""Services that reach Zerodha, where it is used: for orders, ticks and instruments; auth for sessions. Only trading sends orders."""

FOLLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    "marketdata": ("tick_frame", STRATEGIES),
    "strategy": (STRATEGIES, *ORDERS),
    "risk": (STRATEGIES,),
    "trading": (STRATEGIES,),
    "portfolio": (STRATEGIES, "tick_frame"),
}
"""Payloads whose topics a service reads whole, without a group."""

DIRECT: Final[Mapping[str, tuple[str, ...]]] = {
    "marketdata": ("tick_frame",),
    "strategy": ("trading_signal",),
    "risk": ("trading_signal",),
    "trading": ("trading_signal",),
}
"""Payloads that a service publishes beside those of its outbox: frames, and signals (risk and trading: of square-offs)."""


@dataclass(frozen=True, slots=True)
class Edges:
    """What one service opens.

    Attributes:
        calls: services that it calls.
        groups: consumer groups that it reads in.
        reads: topics that it reads.
        writes: topics that it writes.
    """

    calls: tuple[str, ...]
    groups: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def edges_of(service: str, topics: TopicMap) -> Edges:
    """Returns what a service opens in a deployment with these topics."""
    groups = tuple(group for group in GROUPS if group.split(".")[0] == service)
    grouped = [payload for group in groups for payload in GROUPS[group]]
    if (
        service == "ops"
    ):  # looks into every topic, redrives from the dead letters into the topic that they came from
        everything = tuple(spec.name for spec in topics.specs())
        return Edges(_calls(service), groups, everything, everything)
    failed = [dead_letter_topic(topic) for topic in topics.topics(*grouped)]
    decided = OUTBOXES.get(service, ())  # written, and compared with the database at a start
    read = dict.fromkeys((*grouped, *FOLLOWED.get(service, ()), *decided))
    return Edges(
        _calls(service),
        groups,
        topics.topics(*read),
        (*topics.topics(*decided, *DIRECT.get(service, ())), *failed),
    )


def _calls(service: str) -> tuple[str, ...]:
    called = {*ASKED_BY_ALL, *CALLS.get(service, ())} - {service}
    return tuple(name for name in SERVICES if name in called)
