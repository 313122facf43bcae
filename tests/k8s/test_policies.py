"""Who reaches whom in the overlays, pod by pod and port by port, is what the program opens: no edge more, none less."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from expected_edges import API, HTTPS, NAMESPACES, PORTS, expected_edges, peers_of
from manifests import Manifest, namespace_of, of_kind, planted, rendered
from policy_matrix import Edge, allowed_edges

from alphapanda.app.security import SERVICES


def _allowed(manifests: Sequence[Manifest], folder: Path) -> set[Edge]:
    """The edges that the policies let through, from or to a pod of the overlay."""
    name = namespace_of(manifests)
    own = of_kind(manifests, "Namespace")[name]["metadata"].get("labels", {})
    namespaces = {
        one: labels | {"kubernetes.io/metadata.name": one}
        for one, labels in (NAMESPACES | {name: own}).items()
    }
    policies = list(of_kind(manifests, "NetworkPolicy").values())
    found = allowed_edges(policies, namespaces, peers_of(manifests), PORTS, folder)
    return {edge for edge in found if f"{name}/" in f"{edge.source} {edge.target}"}


def _differences(manifests: Sequence[Manifest], folder: Path) -> list[str]:
    allowed, expected = _allowed(manifests, folder), expected_edges(manifests)
    more = [f"an edge too many: {edge}" for edge in sorted(allowed - expected)]
    less = [f"an edge too few: {edge}" for edge in sorted(expected - allowed)]
    return more + less


@pytest.mark.parametrize("overlay", ["dev", "production", "production with zerodha"])
def test_the_matrix_of_the_policies_is_what_the_program_opens(
    overlay: str, kubernetes_tools: None, tmp_path: Path
) -> None:
    """Both ways, for every pair of pods, strangers in and out of the namespace and the internet among them, on every port."""
    name, _, option = overlay.partition(" with ")
    manifests = rendered(name, *([option] if option else []))
    assert set(SERVICES) <= {peer.name for peer in peers_of(manifests)}
    assert _differences(manifests, tmp_path) == []


def test_an_edge_too_few_is_found_by_name(kubernetes_tools: None, tmp_path: Path) -> None:
    """Planted: risk may no longer be reached by trading, whose manual orders it has to authorise."""
    spoilt, policy = planted(rendered("dev"), "NetworkPolicy", "risk")
    for rule in policy["spec"]["ingress"]:
        for peer in rule["from"]:
            for one in peer["podSelector"]["matchExpressions"]:
                one["values"] = [name for name in one["values"] if name != "trading"]
    here = namespace_of(spoilt)
    assert _differences(spoilt, tmp_path) == [f"an edge too few: {here}/trading → {here}/risk {API}"]


def test_an_edge_too_many_is_found_by_name(kubernetes_tools: None, tmp_path: Path) -> None:
    """Planted: strategies, which are strangers' code, may reach the internet."""
    spoilt, policy = planted(rendered("dev"), "NetworkPolicy", "strategy")
    internet: dict[str, Any] = {"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}
    policy["spec"]["egress"].append(internet | {"ports": [{"protocol": "TCP", "port": 443}]})
    found = _differences(spoilt, tmp_path)
    assert found == [f"an edge too many: {namespace_of(spoilt)}/strategy → internet/address {HTTPS}"]
