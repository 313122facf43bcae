"""A consumer's counts as it reports them: copies, with the places where it stands still."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from alphapanda.contract.topics import TopicPartition
from alphapanda.domain.consumer_status import ConsumerStatus


def reported(
    counts: Mapping[str, ConsumerStatus],
    paused: Mapping[TopicPartition, int],
    broker_of: Callable[[str], str],
    parked: Mapping[str, int] | None = None,
    open_circuit: Callable[[str], str] = lambda _: "",
) -> list[ConsumerStatus]:
    """One status a broker.

    Args:
        counts: by broker.
        paused: offset at which a partition stands, of those that don't move because of an error.
        broker_of: the broker of a topic.
        parked: keys parked, by broker.
        open_circuit: why a broker's side stands still; empty where it doesn't. It is then the last error.
    """
    places: dict[str, list[str]] = {}
    for at, offset in sorted(paused.items()):
        places.setdefault(broker_of(at.topic), []).append(f"{at.topic}/{at.partition}@{offset}")
    keys = parked or {}
    return [
        replace(
            counted,
            paused=tuple(places.get(broker, ())),
            last_error=open_circuit(broker) or counted.last_error,
            parked=keys.get(broker, 0),
        )
        for broker, counted in counts.items()
    ]
