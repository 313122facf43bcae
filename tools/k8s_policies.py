"""Network policies of deploy/k8s: what each service opens (`app/edges.py`), and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from alphapanda.app.edges import AT_THE_BROKER, edges_of
from alphapanda.app.security import SERVICES
from alphapanda.contract.topics import TopicMap

API: Final = 50051
METRICS: Final = 9464
STORES: Final[Mapping[str, int]] = {"kafka": 9092, "postgres": 5432, "redis": 6379}
OTLP: Final = 4317
HTTPS: Final = 443
HERE: Final = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
"""Addresses of clusters and of their clouds, where no broker is."""

API_SERVER: Final = (443, 6443)
POSTGRES_STATUS: Final = 8000
STORE: Final = "alphapanda.io/store"
NAME: Final = "app.kubernetes.io/name"
COMPONENT: Final = "app.kubernetes.io/component"
JOBS: Final[Mapping[str, tuple[str, ...]]] = {"migrate": ("postgres",), "topics": ("kafka",)}

Manifest = dict[str, Any]


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
    yield _policy("to-collector", {COMPONENT: "service"}, egress=[_to([_namespace("collector")], OTLP)])


def monitoring_policies() -> Iterable[Manifest]:
    """Prometheus reads figures of services."""
    there = _namespace("monitoring")
    yield _policy("from-prometheus", {COMPONENT: "service"}, ingress=[_from([there], METRICS)])


def gateway_policies() -> Iterable[Manifest]:
    """The gateway hands calls of people and programs to services."""
    yield _policy("from-gateway", {COMPONENT: "service"}, ingress=[_from([_namespace("gateway")], API)])


def kafka_policies() -> Iterable[Manifest]:
    """Kafka's pods reach each other and Kubernetes, by which their operator leads them."""
    pods = {"strimzi.io/cluster": "kafka"}
    each_other: list[Any] = [{"podSelector": {"matchLabels": pods}}]
    yield _policy(
        "kafka-pods",
        pods,
        ingress=[{"from": [*each_other, _namespace("operators")]}],
        egress=[{"to": each_other}, _to_anywhere(*API_SERVER)],
    )


def postgres_policies() -> Iterable[Manifest]:
    """PostgreSQL's instances reach each other, Kubernetes, and where backups go (port 443)."""
    pods = {"cnpg.io/cluster": "postgres"}
    each_other: list[Any] = [{"podSelector": {"matchLabels": pods}}]
    ports = [{"protocol": "TCP", "port": port} for port in (STORES["postgres"], POSTGRES_STATUS)]
    yield _policy(
        "postgres-pods",
        pods,
        ingress=[
            {"from": each_other, "ports": ports},
            _from([_namespace("operators")], POSTGRES_STATUS),
        ],
        egress=[{"to": each_other, "ports": ports}, _to_anywhere(*API_SERVER)],
    )


def scaling_policies() -> Iterable[Manifest]:
    """KEDA asks Kafka for lags."""
    yield _policy("from-keda", {STORE: "kafka"}, ingress=[_from([_namespace("keda")], STORES["kafka"])])


def broker_policies() -> Iterable[Manifest]:
    """Who calls Zerodha reaches the internet, by HTTPS and WebSocket; nobody else does."""
    (pods,) = _named(AT_THE_BROKER)
    internet = {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(HERE)}}
    yield _policy("to-broker", pods["podSelector"], egress=[_to([internet], HTTPS)])


def _policy(name: str, pods: Mapping[str, Any], **rules: Sequence[Any]) -> Manifest:
    selector = dict(pods) if not pods or "matchExpressions" in pods else {"matchLabels": dict(pods)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "podSelector": selector,
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


def _namespace(purpose: str) -> Manifest:
    """Every pod of the namespaces that carry this label, which who runs the cluster puts on them."""
    return {"namespaceSelector": {"matchLabels": {f"alphapanda.io/{purpose}": "true"}}}


def _to_anywhere(*ports: int) -> Manifest:
    return {
        "to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}],
        "ports": [{"protocol": "TCP", "port": port} for port in ports],
    }
