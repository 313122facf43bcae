"""Writes those manifests of deploy/k8s that follow from the program: who may reach whom, Kafka's topics and users, and more.

Network policies come from what each service opens (`app/edges.py`), topics and routes from the contract, the users' rights from
both, alerts from deploy/observability. `tests/unit/test_k8s.py` holds the files to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import k8s_kafka as kafka
import k8s_policies as policies
import yaml
from typing_extensions import override

from alphapanda.app.security import SERVICES
from alphapanda.app.topics import topics_of
from alphapanda.contract.catalogue import service_descriptors
from alphapanda.contract.topics import TopicMap
from alphapanda.settings.model import Settings
from alphapanda.settings.tls import TlsSettings
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry

FOLDER: Final = Path(__file__).resolve().parents[1] / "deploy/k8s"
RULES: Final = FOLDER.parent / "observability/rules.yml"
HEAD: Final = "# Made by `make k8s-manifests` from {source}; don't edit it.\n"
BROKERS_OF_PRODUCTION: Final = ("paper", "zerodha")
"""Brokers that Kafka's topics and users are made for: every one that there is."""

Manifest = dict[str, Any]


def deployment() -> TopicMap:
    """The topics of a deployment with every broker."""
    return topics_of(Settings(active_brokers=BROKERS_OF_PRODUCTION), BrokerRegistry(BROKERS))


def certificates() -> Iterable[Manifest]:
    """A certificate for each service, whose URI says which it is; for commands and for Redis one that names none."""
    template = str(TlsSettings.model_fields["service_id"].default)
    for service in SERVICES:
        uri = template.replace("{service}", service)
        yield _certificate(service, dnsNames=[service], uris=[uri], usages=["server auth", "client auth"])
    yield _certificate("cli", commonName="cli", usages=["client auth"])
    yield _certificate("redis", dnsNames=["redis"], usages=["server auth"])


def _certificate(name: str, **whom: Any) -> Manifest:
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": name},
        "spec": {
            "secretName": f"{name}-tls",
            **whom,
            "duration": "2160h",
            "renewBefore": "720h",
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "issuerRef": {"name": "alphapanda", "kind": "Issuer", "group": "cert-manager.io"},
        },
    }


def routes() -> Iterable[Manifest]:
    """Each gRPC service's calls go to the Service of its name, whose certificate the gateway checks."""
    for service in SERVICES:
        names = [one.full_name for one in service_descriptors() if one.full_name.split(".")[1] == service]
        yield {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GRPCRoute",
            "metadata": {"name": service},
            "spec": {
                "parentRefs": [{"name": "alphapanda"}],
                "hostnames": ["alphapanda.example"],
                "rules": [
                    {
                        "matches": [{"method": {"type": "Exact", "service": name}} for name in names],
                        "backendRefs": [{"name": service, "port": policies.API}],
                    }
                ],
            },
        }
        yield {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "BackendTLSPolicy",
            "metadata": {"name": service},
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": service, "sectionName": "grpc"}],
                "validation": {
                    "hostname": service,
                    "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "authority"}],
                },
            },
        }


def alerts() -> Iterable[Manifest]:
    """The alerts of deploy/observability."""
    yield {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "alphapanda"},
        "spec": yaml.safe_load(RULES.read_text(encoding="utf-8")),
    }


def files() -> Mapping[Path, str]:
    """The generated files and what is in them."""
    topics = deployment()
    edges, contract = "services/alphapanda/app/edges.py", "the contract"
    made: Mapping[str, tuple[str, Iterable[Manifest]]] = {
        "base/network-policies.yaml": (edges, policies.base_policies(topics)),
        "components/cert-manager/certificates.yaml": ("the services' names", certificates()),
        "components/cli/network-policies.yaml": (edges, policies.command_policies()),
        "components/cloudnative-pg/network-policies.yaml": (edges, policies.postgres_policies()),
        "components/collector/network-policies.yaml": (edges, policies.collector_policies()),
        "components/gateway/network-policies.yaml": (edges, policies.gateway_policies()),
        "components/gateway/routes.yaml": (contract, routes()),
        "components/jaeger/network-policies.yaml": (edges, policies.jaeger_policies()),
        "components/keda/network-policies.yaml": (edges, policies.scaling_policies()),
        "components/monitoring/network-policies.yaml": (edges, policies.monitoring_policies()),
        "components/monitoring/rules.yaml": ("deploy/observability/rules.yml", alerts()),
        "components/strimzi/network-policies.yaml": (edges, policies.kafka_policies()),
        "components/strimzi/patches/users.yaml": ("the services' names", kafka.user_patches()),
        "components/strimzi/topics.yaml": (contract, kafka.kafka_topics(topics)),
        "components/strimzi/users.yaml": (f"{contract} and {edges}", kafka.kafka_users(topics)),
        "components/zerodha/network-policies.yaml": (edges, policies.broker_policies()),
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
