"""Builds the reported status of a consumer from its counts."""

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
    open_circuits: Callable[[str], tuple[str, ...]] = lambda _: (),
) -> list[ConsumerStatus]:
    """Returns one status for each broker, as a copy.

    Args:
        counts: by broker.
        paused: partitions stopped by an error, with the offset they are stopped at.
        broker_of: the broker of a topic.
        parked: number of parked keys, by broker.
        open_circuit: why a broker's records wait or the consumer has stopped, reported as its last error; else empty.
        open_circuits: the dependencies that a broker's records wait for.
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
            open_circuits=open_circuits(broker),
        )
        for broker, counted in counts.items()
    ]
