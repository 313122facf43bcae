"""How a group's partitions are shared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.sqlite.group import shares

PARTITIONS = {"a": 4, "b": 8, "c": 1}


@given(st.lists(st.sets(st.sampled_from(sorted(PARTITIONS))), max_size=6))
def test_every_wanted_partition_has_one_holder_and_shares_are_even(topics) -> None:
    """Each partition of a wanted topic goes to one member that wants it; shares of a topic differ by one at most."""
    given_out = shares(topics, PARTITIONS)
    for name, count in PARTITIONS.items():
        takers = [number for number, names in enumerate(topics) if name in names]
        sizes = {number: sum(at.topic == name for at in share) for number, share in enumerate(given_out)}
        assert all(sizes[number] == 0 for number in range(len(topics)) if number not in takers)
        for partition in range(count):
            holders = [
                number for number, share in enumerate(given_out) if TopicPartition(name, partition) in share
            ]
            assert len(holders) == bool(takers)
        if takers:
            taken = [sizes[number] for number in takers]
            assert max(taken) - min(taken) <= 1
