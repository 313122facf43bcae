"""Two versions of the contract at once: what an older or a newer producer sends of every event of a real run is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cluster import Cluster
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from alphapanda.eventlog.decode import from_record
from panda.events.v1.events_pb2 import Event

LATER_FIELD = bytes.fromhex("c0a90701")  # field 15000, varint 1: no message of ours has it


def test_older_and_newer_producers_are_read(cluster: Cluster, repo_root: Path):
    """Without the fields that the accepted contract lacks, and with fields nobody here knows, every event is whole."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString((repo_root / "protos/baseline.binpb").read_bytes()).file:
        pool.Add(file)
    accepted = GetMessageClass(pool.FindMessageTypeByName("panda.events.v1.Event"))
    evidence = cluster.evidence()
    kinds = set()
    for record in evidence.records:
        event = from_record(record, evidence.topic_map)
        payload = event.WhichOneof("payload")
        older = accepted.FromString(record.value)
        older.DiscardUnknownFields()
        read = from_record(replace(record, value=older.SerializeToString()), evidence.topic_map)
        assert (read.event_id, read.WhichOneof("payload")) == (event.event_id, payload)

        newer = Event.FromString(record.value)
        newer.MergeFromString(LATER_FIELD)
        getattr(newer, payload).MergeFromString(LATER_FIELD)
        read = from_record(replace(record, value=newer.SerializeToString()), evidence.topic_map)
        assert read != event
        read.DiscardUnknownFields()
        assert read == event
        kinds.add(payload)
    assert kinds >= {"tick_frame", "strategy_changed"}
