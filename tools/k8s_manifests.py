"""Writes those manifests of deploy/k8s that follow from the program: who may reach whom, and Kafka's topics and users.

Network policies come from what each service opens (`app/edges.py`), topics from the contract's options, the users' rights from
both. `tests/unit/test_k8s.py` holds the files to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from typing_extensions import override

from alphapanda.app.edges import Edges, edges_of
from alphapanda.app.security import SERVICES
from alphapanda.app.topics import topics_of
from alphapanda.contract.topics import TopicMap, TopicSpec
from alphapanda.settings.model import Settings
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry

FOLDER: Final = Path(__file__).resolve().parents[1] / "deploy/k8s"
HEAD: Final = "# Made by `make k8s-manifests` from {source}; don't edit it.\n"
API: Final = 50051
METRICS: Final = 9464
STORES: Final[Mapping[str, int]] = {"kafka": 9092, "postgres": 5432, "redis": 6379}
OTLP: Final = 4317
STORE: Final = "alphapanda.io/store"
NAME: Final = "app.kubernetes.io/name"
COMPONENT: Final = "app.kubernetes.io/component"
JOBS: Final[Mapping[str, tuple[str, ...]]] = {"migrate": ("postgres",), "topics": ("kafka",)}
BROKERS_OF_PRODUCTION: Final = ("paper", "zerodha")
"""Brokers that Kafka's topics and users are made for: every one that there is."""

REPLICAS: Final = 3
CLUSTER: Final = {"strimzi.io/cluster": "kafka"}
GROUPS_PREFIX: Final = f"{Settings().kafka.group_prefix}."
_HOUR_MS: Final = 3_600_000

Manifest = dict[str, Any]


def deployment() -> TopicMap:
    """The topics of a deployment with every broker."""
    brokers = BrokerRegistry(BROKERS)
    return topics_of(Settings(active_brokers=BROKERS_OF_PRODUCTION), brokers)


# -- network policies --------------------------------------------------------------------------------------------------


def base_policies(topics: TopicMap) -> Iterable[Manifest]:
    """Nothing is reached but by what is opened: DNS by all, a service by its callers, the stores by services and Jobs."""
    yield _policy("default-deny", {}, ingress=[], egress=[])
    dns = {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }
    yield _policy("dns", {}, egress=[dns])
    edges = {service: edges_of(service, topics) for service in SERVICES}
    for service in SERVICES:
        callers = [name for name in SERVICES if service in edges[name].calls]
        yield _policy(
            service,
            {NAME: service},
            ingress=[_from(_named(callers), API)] if callers else [],
            egress=[
                _to(_named(edges[service].calls), API),
                *(_to(_store(store), port) for store, port in STORES.items()),
            ],
        )
    for job, stores in JOBS.items():
        yield _policy(job, {NAME: job}, egress=[_to(_store(store), STORES[store]) for store in stores])
    for store, port in STORES.items():
        jobs = [job for job, stores in JOBS.items() if store in stores]
        who = [{"podSelector": {"matchLabels": {COMPONENT: "service"}}}, *(_named(jobs) if jobs else [])]
        yield _policy(store, {STORE: store}, ingress=[_from(who, port)])


def command_policies() -> Iterable[Manifest]:
    """The pod in which people run commands asks every service."""
    yield _policy("cli", {NAME: "cli"}, egress=[_to(_of_component("service"), API)])
    yield _policy("from-cli", {COMPONENT: "service"}, ingress=[_from(_named(["cli"]), API)])


def jaeger_policies() -> Iterable[Manifest]:
    """Services and their traces."""
    yield _policy("to-jaeger", {COMPONENT: "service"}, egress=[_to(_store("jaeger"), OTLP)])
    yield _policy("jaeger", {STORE: "jaeger"}, ingress=[_from(_of_component("service"), OTLP)])


def collector_policies() -> Iterable[Manifest]:
    """Services and the collector, which runs in a namespace of its own."""
    there = [{"namespaceSelector": {"matchLabels": {"alphapanda.io/collector": "true"}}}]
    yield _policy("to-collector", {COMPONENT: "service"}, egress=[_to(there, OTLP)])


def monitoring_policies() -> Iterable[Manifest]:
    """Prometheus reads figures of services."""
    there = [{"namespaceSelector": {"matchLabels": {"alphapanda.io/monitoring": "true"}}}]
    yield _policy("from-prometheus", {COMPONENT: "service"}, ingress=[_from(there, METRICS)])


def gateway_policies() -> Iterable[Manifest]:
    """The gateway hands calls of people and programs to services."""
    there = [{"namespaceSelector": {"matchLabels": {"alphapanda.io/gateway": "true"}}}]
    yield _policy("from-gateway", {COMPONENT: "service"}, ingress=[_from(there, API)])


def _policy(name: str, pods: Mapping[str, str], **rules: Sequence[Any]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "podSelector": {"matchLabels": dict(pods)} if pods else {},
            "policyTypes": [kind.capitalize() for kind in rules],
            **{kind: list(found) for kind, found in rules.items() if found},
        },
    }


def _named(names: Iterable[str]) -> list[Any]:
    return [{"podSelector": {"matchExpressions": [{"key": NAME, "operator": "In", "values": list(names)}]}}]


def _of_component(component: str) -> list[Any]:
    return [{"podSelector": {"matchLabels": {COMPONENT: component}}}]


def _store(store: str) -> list[Any]:
    return [{"podSelector": {"matchLabels": {STORE: store}}}]


def _to(whom: list[Any], port: int) -> Manifest:
    return {"to": whom, "ports": [{"protocol": "TCP", "port": port}]}


def _from(whom: list[Any], port: int) -> Manifest:
    return {"from": whom, "ports": [{"protocol": "TCP", "port": port}]}


# -- Kafka, by Strimzi -------------------------------------------------------------------------------------------------


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
    yield _user("topics", [_see_topics("Describe", "DescribeConfigs")])
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
    return [*rules, _see_groups()] if watches else rules


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


# -- files -------------------------------------------------------------------------------------------------------------


def files() -> Mapping[Path, str]:
    """The generated files and what is in them."""
    topics = deployment()
    edges, contract = "services/alphapanda/app/edges.py", "the contract's options"
    made: Mapping[str, tuple[str, Iterable[Manifest]]] = {
        "base/network-policies.yaml": (edges, base_policies(topics)),
        "components/cli/network-policies.yaml": (edges, command_policies()),
        "components/jaeger/network-policies.yaml": (edges, jaeger_policies()),
        "components/collector/network-policies.yaml": (edges, collector_policies()),
        "components/monitoring/network-policies.yaml": (edges, monitoring_policies()),
        "components/gateway/network-policies.yaml": (edges, gateway_policies()),
        "components/strimzi/topics.yaml": (contract, kafka_topics(topics)),
        "components/strimzi/users.yaml": (f"{contract} and {edges}", kafka_users(topics)),
    }
    return {
        FOLDER / name: HEAD.format(source=source) + _text(manifests)
        for name, (source, manifests) in made.items()
    }


class _Plain(yaml.SafeDumper):
    """Repeats what is the same, instead of referring to it."""

    @override
    def ignore_aliases(self, _data: object) -> bool:
        """Whether no reference is written: always."""
        return True


def _text(manifests: Iterable[Manifest]) -> str:
    return yaml.dump_all(manifests, Dumper=_Plain, sort_keys=False, width=130, explicit_start=False)


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
