"""Compares existing topics with the contract's specification."""

from __future__ import annotations

from collections.abc import Iterable

from alphapanda.contract.topics import TopicSpec


def differences(has: TopicSpec, wanted: TopicSpec) -> Iterable[str]:
    """Yields a sentence for each difference between an existing topic and its specification."""
    for name in ("partitions", "retention_hours", "compacted"):
        there, asked = getattr(has, name), getattr(wanted, name)
        if there != asked:
            yield f"topic {has.name!r} has {name} {there}, {asked} is wanted; it stays as it is"
