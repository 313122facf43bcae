"""Who reaches whom, as NetworkPolicies have it: cyclonus evaluates them as Kubernetes defines them, without a cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from control_plane import cyclonus
from typing_extensions import override

ALLOWED, BLOCKED = ".", "X"


@dataclass(frozen=True, slots=True)
class Peer:
    """What packets come from or go to: a pod, or an address outside.

    Attributes:
        namespace: where it is.
        name: what it is called here.
        labels: its own.
        address: IPv4; None: one of the cluster's.
    """

    namespace: str
    name: str
    labels: Mapping[str, str] = field(hash=False)
    address: str | None = None

    @property
    def key(self) -> str:
        """As cyclonus names it."""
        return f"{self.namespace}/{self.name}"


class Edge(NamedTuple):
    """A connection that may be opened.

    Attributes:
        source: `namespace/name`.
        target: `namespace/name`.
        port: `TCP/5432`.
    """

    source: str
    target: str
    port: str

    @override
    def __str__(self) -> str:
        return f"{self.source} → {self.target} {self.port}"


def allowed_edges(
    policies: Sequence[Mapping[str, Any]],
    namespaces: Mapping[str, Mapping[str, str]],
    peers: Sequence[Peer],
    ports: Collection[str],
    folder: Path,
) -> set[Edge]:
    """Every edge between two different peers that the policies let through.

    Args:
        policies: NetworkPolicies.
        namespaces: labels by name.
        peers: sources and targets; each is asked on every port.
        ports: `TCP/5432`, `UDP/53`.
        folder: an empty one to work in.
    """
    given = folder / "policies"
    given.mkdir()
    for number, policy in enumerate(policies):  # one a file: of more, cyclonus reads the first
        (given / f"{number}.yaml").write_text(yaml.safe_dump(dict(policy)), encoding="utf-8")
    wanted = sorted(ports)
    model = {
        "Resources": {
            "Namespaces": {name: dict(labels) for name, labels in namespaces.items()},
            "Pods": [_pod(number, peer, wanted) for number, peer in enumerate(peers, 1)],
        },
        "Probes": [{"Protocol": protocol, "Port": int(port)} for protocol, port in map(_split, wanted)],
    }
    (folder / "pods.json").write_text(json.dumps(model), encoding="utf-8")
    command = [
        str(cyclonus()),
        "analyze",
        "--mode=probe",
        f"--policy-path={given}",
        f"--probe-path={folder / 'pods.json'}",
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    combined = [part.partition("Ingress:")[0] for part in shown.split("Combined:")[1:]]
    tables = [table for table in combined if "/" in table]  # the last is of nodes, of which there are none
    assert len(tables) == len(wanted), shown
    return {
        Edge(source, target, port)
        for port, table in zip(wanted, tables, strict=True)
        for source, target in _allowed(table, {peer.key for peer in peers})
        if source != target
    }


def _split(port: str) -> tuple[str, str]:
    protocol, _, number = port.partition("/")
    return protocol, number


def _pod(number: int, peer: Peer, ports: Sequence[str]) -> dict[str, Any]:
    containers = [
        {"Name": f"c{at}", "Port": int(number_), "Protocol": protocol.lower(), "PortName": f"p{at}"}
        for at, (protocol, number_) in enumerate(map(_split, ports))
    ]
    return {
        "Namespace": peer.namespace,
        "Name": peer.name,
        "Labels": dict(peer.labels),
        "IP": peer.address or f"10.244.{number // 250}.{number % 250 + 1}",
        "Containers": containers,
    }


def _allowed(table: str, known: Collection[str]) -> set[tuple[str, str]]:
    """The allowed pairs of a table as cyclonus prints it: sources are rows, targets columns."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in table.splitlines()
        if "|" in line
    ]
    header, *rest = rows
    written = {name.upper(): name for name in known}
    targets = [written[name] for name in header[1:]]
    assert set(targets) == set(known), table
    found = set()
    seen = set()
    for source, *cells in rest:
        seen.add(source)
        for target, cell in zip(targets, cells, strict=True):
            assert cell in {ALLOWED, BLOCKED}, f"{source} → {target}: {cell}"
            if cell == ALLOWED:
                found.add((source, target))
    assert seen == set(known), table
    return found
