"""Kafka of deploy/k8s by Strimzi: topics of the contract's options, a user a service with the rights that its edges need."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from alphapanda.app.edges import Edges, edges_of
from alphapanda.app.security import SERVICES
from alphapanda.contract.topics import TopicMap, TopicSpec
from alphapanda.settings.model import Settings

REPLICAS: Final = 3
CLUSTER: Final = {"strimzi.io/cluster": "kafka"}
GROUPS_PREFIX: Final = f"{Settings().kafka.group_prefix}."
_HOUR_MS: Final = 3_600_000

Manifest = dict[str, Any]


def kafka_topics(topics: TopicMap) -> Iterable[Manifest]:
    """Every topic of the contract, as `alphapanda topics ensure` would make it."""
    for spec in topics.specs():
        yield {
            "apiVersion": "kafka.strimzi.io/v1beta2",
            "kind": "KafkaTopic",
            "metadata": {"name": spec.name.replace("_", "-"), "labels": dict(CLUSTER)},
            "spec": {
                "topicName": spec.name,
                "partitions": spec.partitions,
                "replicas": REPLICAS,
                "config": _configuration(spec),
            },
        }


def _configuration(spec: TopicSpec) -> Manifest:
    return {
        "cleanup.policy": "compact" if spec.compacted else "delete",
        "min.insync.replicas": REPLICAS - 1,
        "retention.ms": -1 if spec.retention_hours is None else spec.retention_hours * _HOUR_MS,
    }


def kafka_users(topics: TopicMap) -> Iterable[Manifest]:
    """A user a service, with the rights that its edges need; one for the topics Job, one for KEDA."""
    for service in SERVICES:
        yield _user(service, rights(edges_of(service, topics), watches=service == "ops"))
    yield _user("topics", [_see_topics("Describe", "DescribeConfigs"), _open_producer()])
    yield _user("keda", [_see_topics("Describe"), _see_groups()])


def rights(edges: Edges, *, watches: bool = False) -> list[Manifest]:
    """The access rules of a service: it sees every topic, reads and writes its own, and commits for its groups."""
    rules = [_see_topics("Describe")]
    for topic in sorted({*edges.reads, *edges.writes}):
        operations = ["Read"] * (topic in edges.reads) + ["Write"] * (topic in edges.writes)
        rules.append(_rule({"type": "topic", "name": topic, "patternType": "literal"}, *operations))
    rules += [
        _rule({"type": "group", "name": GROUPS_PREFIX + group, "patternType": "literal"}, "Read")
        for group in edges.groups
    ]
    if not edges.writes:
        rules.append(_open_producer())
    return [*rules, _see_groups()] if watches else rules


def _open_producer() -> Manifest:
    """Every process opens an idempotent producer when it starts; who may write a topic may do that anyway."""
    return _rule({"type": "cluster"}, "IdempotentWrite")


def _see_topics(*operations: str) -> Manifest:
    return _rule({"type": "topic", "name": "*", "patternType": "literal"}, *operations)


def _see_groups() -> Manifest:
    return _rule({"type": "group", "name": GROUPS_PREFIX, "patternType": "prefix"}, "Describe")


def _rule(resource: Manifest, *operations: str) -> Manifest:
    return {"resource": resource, "operations": list(operations), "host": "*"}


def _user(name: str, rules: list[Manifest]) -> Manifest:
    return {
        "apiVersion": "kafka.strimzi.io/v1beta2",
        "kind": "KafkaUser",
        "metadata": {"name": f"alphapanda-{name}", "labels": dict(CLUSTER)},
        "spec": {
            "authentication": {"type": "scram-sha-512"},
            "authorization": {"type": "simple", "acls": rules},
        },
    }


def user_patches() -> Iterable[Manifest]:
    """Each service connects as its own user, with the password that Strimzi made."""
    for service in SERVICES:
        container = {
            "name": "alphapanda",
            "env": [{"name": "ALPHAPANDA_KAFKA__SASL_USERNAME", "value": f"alphapanda-{service}"}],
        }
        password = {
            "name": "kafka-user",
            "secret": {
                "secretName": f"alphapanda-{service}",
                "defaultMode": 0o440,
                "items": [{"key": "password", "path": "password"}],
            },
        }
        yield {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": service},
            "spec": {"template": {"spec": {"containers": [container], "volumes": [password]}}},
        }
