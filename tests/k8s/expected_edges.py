"""What the program opens, as edges between the pods of an overlay and what is outside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from manifests import Manifest, namespace_of, of_kind, pods
from policy_matrix import Edge, Peer

from alphapanda.app.edges import AT_THE_BROKER, edges_of
from alphapanda.app.security import SERVICES
from alphapanda.app.topics import topics_of
from alphapanda.settings.model import Settings
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry

API, HEALTH, METRICS, OTLP, HTTPS = "TCP/50051", "TCP/50080", "TCP/9464", "TCP/4317", "TCP/443"
STORES = {"postgres": "TCP/5432", "redis": "TCP/6379", "kafka": "TCP/9092"}
OF_JOBS = {"migrate": "postgres", "topics": "kafka"}
DNS = ("UDP/53", "TCP/53")
ANYWHERE = (HTTPS, "TCP/6443")
PORTS = {
    API,
    HEALTH,
    METRICS,
    OTLP,
    "TCP/16686",
    "TCP/9093",
    "TCP/8000",
    "TCP/3128",
    *ANYWHERE,
    *STORES.values(),
    *DNS,
}
"""Each is asked between any two peers: also ports that nobody is meant to reach."""
STORE = "alphapanda.io/store"

OUTSIDE = (
    Peer("kube-system", "dns", {"k8s-app": "kube-dns"}),
    Peer("observability", "collector", {"app": "collector"}),
    Peer("monitoring", "prometheus", {"app.kubernetes.io/name": "prometheus"}),
    Peer("gateways", "gateway", {"app": "gateway"}),
    Peer("keda", "keda", {"app": "keda-operator"}),
    Peer("operators", "operator", {"app": "operator"}),
    Peer("egress", "proxy", {"app": "proxy"}),
    Peer("elsewhere", "stranger", {"app": "stranger"}),
    Peer(
        "elsewhere",
        "looks-like-risk",
        {"app.kubernetes.io/name": "risk", "app.kubernetes.io/component": "service"},
    ),
    Peer("internet", "address", {}, "203.0.113.7"),
)
NAMESPACES = {
    "kube-system": {},
    "observability": {"alphapanda.io/collector": "true"},
    "monitoring": {"alphapanda.io/monitoring": "true"},
    "gateways": {"alphapanda.io/gateway": "true"},
    "keda": {"alphapanda.io/keda": "true"},
    "operators": {"alphapanda.io/operators": "true"},
    "egress": {"alphapanda.io/egress": "true"},
    "elsewhere": {},
    "internet": {},
}
"""Labels of the namespaces outside."""


def peers_of(manifests: Sequence[Manifest]) -> list[Peer]:
    """A peer for the pods of each workload, one in the same namespace that is none of ours, and those outside."""
    here = namespace_of(manifests)
    own = [
        Peer(here, workload["metadata"]["name"], template["metadata"]["labels"])
        for workload, template in pods(manifests)
    ]
    return [*own, *_of_operators(manifests, here), Peer(here, "stranger", {"app": "stranger"}), *OUTSIDE]


def _of_operators(manifests: Sequence[Manifest], here: str) -> Iterable[Peer]:
    """Pods that an operator makes, with its own labels and those that its resources ask it to give them."""
    for name, one in of_kind(manifests, "Cluster").items():
        asked = one["spec"].get("inheritedMetadata", {}).get("labels", {})
        yield Peer(here, f"postgres-{name}", {"cnpg.io/cluster": name, **asked})
    for name, one in of_kind(manifests, "KafkaNodePool").items():
        asked = one["spec"].get("template", {}).get("pod", {}).get("metadata", {}).get("labels", {})
        yield Peer(here, f"kafka-{name}", {**one["metadata"]["labels"], **asked})


def program_edges(manifests: Sequence[Manifest]) -> set[Edge]:
    """What services and Jobs open themselves: calls of each other, stores, the collector of traces."""
    here = namespace_of(manifests)
    peers = peers_of(manifests)
    topics = topics_of(Settings(), BrokerRegistry(BROKERS))
    calls = {(service, called) for service in SERVICES for called in edges_of(service, topics).calls}
    found = {Edge(f"{here}/{service}", f"{here}/{called}", API) for service, called in calls}
    stores = {
        kind: [peer.key for peer in peers if peer.labels.get(STORE) == kind] for kind in (*STORES, "jaeger")
    }
    for kind, port in STORES.items():
        found |= {Edge(f"{here}/{name}", store, port) for name in SERVICES for store in stores[kind]}
    for job, kind in OF_JOBS.items():
        found |= {Edge(f"{here}/{job}", store, STORES[kind]) for store in stores[kind]}
    collectors = stores["jaeger"] or ["observability/collector"]
    return found | {Edge(f"{here}/{name}", collector, OTLP) for name in SERVICES for collector in collectors}


def expected_edges(manifests: Sequence[Manifest]) -> set[Edge]:
    """The same, and who reads figures, hands in calls, watches lag and looks names up; and stores among themselves."""
    here = namespace_of(manifests)
    peers = peers_of(manifests)
    own = {peer.name: peer for peer in peers if peer.namespace == here}
    found = program_edges(manifests) | _of_stores(peers, here)
    found |= {Edge(peer.key, "kube-system/dns", port) for peer in own.values() for port in DNS}
    if "cli" in own:
        found |= {Edge(f"{here}/cli", f"{here}/{name}", API) for name in SERVICES}
    if of_kind(manifests, "ServiceMonitor", "PodMonitor"):
        found |= {Edge("monitoring/prometheus", f"{here}/{name}", METRICS) for name in SERVICES}
    if of_kind(manifests, "Gateway", "GRPCRoute"):
        found |= {Edge("gateways/gateway", f"{here}/{name}", API) for name in SERVICES}
    if "zerodha" in _brokers(manifests):
        found |= {Edge(f"{here}/{name}", "internet/address", HTTPS) for name in AT_THE_BROKER}
    if of_kind(manifests, "ScaledObject"):
        brokers = [peer.key for peer in own.values() if peer.labels.get(STORE) == "kafka"]
        found |= {Edge("keda/keda", broker, STORES["kafka"]) for broker in brokers}
    return found


def _brokers(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """The active brokers of the overlay's settings."""
    (settings,) = (
        one for name, one in of_kind(manifests, "ConfigMap").items() if name.startswith("settings")
    )
    return tuple(settings["data"]["ALPHAPANDA_ACTIVE_BROKERS"].split(","))


def _of_stores(peers: Sequence[Peer], here: str) -> set[Edge]:
    """What operators' pods need: each other, their operator, and Kubernetes' API and the place of backups, wherever they are."""
    kafka = [peer.key for peer in peers if "strimzi.io/cluster" in peer.labels]
    postgres = [peer.key for peer in peers if "cnpg.io/cluster" in peer.labels]
    outside = [peer.key for peer in peers if peer.namespace != here]
    found = {Edge(one, other, port) for one in kafka for other in kafka for port in PORTS if one != other}
    found |= {Edge("operators/operator", one, port) for one in kafka for port in PORTS}
    found |= {Edge("operators/operator", one, "TCP/8000") for one in postgres}
    return found | {
        Edge(one, other, port) for one in (*kafka, *postgres) for other in outside for port in ANYWHERE
    }
