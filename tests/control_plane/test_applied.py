"""The overlays on a real control plane: accepted without a warning, started by the real scheduler, rolled and drained."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from control_plane import ZONES, ControlPlane, KubectlFailed
from manifests import Manifest, is_ours, named, namespace_of, of_kind, pod_template, pods, rendered

pytestmark = pytest.mark.timeout(900)

OVERLAYS = ("dev", "production")
WAIT = "--timeout=180s"


@pytest.fixture(scope="module", params=OVERLAYS)
def applied(request: pytest.FixtureRequest, cluster: ControlPlane) -> Iterator[tuple[list[Manifest], str]]:
    """An overlay's manifests in the cluster, and their namespace; gone afterwards."""
    manifests = rendered(request.param)
    namespace = namespace_of(manifests)
    cluster.apply(manifests)
    yield manifests, f"--namespace={namespace}"
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    # kwok's pods end at once; a namespace that doesn't end says what holds it.
    cluster.kubectl("wait", "--for=delete", f"namespace/{namespace}", WAIT)


def test_an_overlay_starts(applied: tuple[list[Manifest], str], cluster: ControlPlane) -> None:
    """Jobs complete, every Deployment and StatefulSet is available, and services with replicas are in both zones."""
    manifests, namespace = applied
    cluster.kubectl("wait", namespace, "--for=condition=complete", "job", "--all", WAIT)
    for workload, _ in pods(manifests):
        if workload["kind"] in {"Deployment", "StatefulSet"}:
            cluster.kubectl("rollout", "status", namespace, named(workload), WAIT)
    zones = {
        node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"]
        for node in cluster.objects("nodes")
    }
    assert set(zones.values()) == set(ZONES)
    at = defaultdict(list)
    for pod in cluster.objects("pods", namespace):
        owner = pod["metadata"]["labels"].get("app.kubernetes.io/name", pod["metadata"]["name"])
        at[owner].append(zones[pod["spec"]["nodeName"]])
    for workload in of_kind(manifests, "Deployment").values():
        if workload["spec"].get("replicas", 1) > 1:
            seen = at[pod_template(workload)["metadata"]["labels"]["app.kubernetes.io/name"]]
            assert set(seen) == set(ZONES), f"{named(workload)}: {seen}"


def test_applying_again_changes_nothing(applied: tuple[list[Manifest], str], cluster: ControlPlane) -> None:
    """A second apply of the same manifests finds everything as it was."""
    manifests, _ = applied
    before = _versions(cluster, manifests, applied[1])
    cluster.apply(manifests)
    assert _versions(cluster, manifests, applied[1]) == before


def _versions(cluster: ControlPlane, manifests: list[Manifest], namespace: str) -> dict[str, int]:
    return {
        name: one["metadata"]["generation"]
        for name in of_kind(manifests, "Deployment")
        for one in cluster.objects("deployments", namespace, f"--field-selector=metadata.name={name}")
    }


def test_every_pod_is_what_restricted_asks_for(
    applied: tuple[list[Manifest], str], cluster: ControlPlane
) -> None:
    """The namespace enforces `restricted`, and each pod was admitted, ours without a service account's token."""
    _manifests, namespace = applied
    (found,) = cluster.objects("namespaces", f"--field-selector=metadata.name={namespace.partition('=')[2]}")
    labels = found["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    events = cluster.objects("events", namespace, "--field-selector=reason=FailedCreate")
    assert not [event["message"] for event in events]
    for pod in cluster.objects("pods", namespace):
        if any(is_ours(container) for container in pod["spec"]["containers"]):
            mounts = [one for c in pod["spec"]["containers"] for one in c.get("volumeMounts", ())]
            assert not [one for one in mounts if "serviceaccount" in one["mountPath"]], pod["metadata"][
                "name"
            ]


def test_a_rollout_ends(applied: tuple[list[Manifest], str], cluster: ControlPlane) -> None:
    """Every Deployment's pods are replaced as its strategy says: trading's old one ends before its new one begins."""
    manifests, namespace = applied
    for workload in of_kind(manifests, "Deployment").values():
        cluster.kubectl("rollout", "restart", namespace, named(workload))
        cluster.kubectl("rollout", "status", namespace, named(workload), WAIT)
    (trading,) = cluster.objects("deployments", namespace, "--field-selector=metadata.name=trading")
    assert trading["spec"]["strategy"]["type"] == "Recreate"


def test_a_drain_keeps_what_the_budgets_ask_for(
    applied: tuple[list[Manifest], str], cluster: ControlPlane
) -> None:
    """A node of each zone is emptied, one after the other; no budget is ever broken, and the pods run elsewhere."""
    manifests, namespace = applied
    budgets = of_kind(manifests, "PodDisruptionBudget")
    nodes = sorted(node["metadata"]["name"] for node in cluster.objects("nodes"))
    for node in (nodes[0], nodes[-1]):
        try:
            cluster.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", WAIT)
            left = cluster.objects("pods", namespace, f"--field-selector=spec.nodeName={node}")
            assert not [pod["metadata"]["name"] for pod in left if pod["status"]["phase"] == "Running"]
        finally:
            cluster.kubectl("uncordon", node)
    for workload in of_kind(manifests, "Deployment").values():
        cluster.kubectl("rollout", "status", namespace, named(workload), WAIT)
    deadline = time.monotonic() + 60
    while short := _short(cluster.objects("poddisruptionbudgets", namespace), set(budgets)):
        assert time.monotonic() < deadline, short
        time.sleep(0.5)


def _short(found: list[dict[str, Any]], names: set[str]) -> list[str]:
    assert {one["metadata"]["name"] for one in found} == names
    return [
        one["metadata"]["name"]
        for one in found
        if one["status"]["currentHealthy"] < one["status"]["desiredHealthy"]
        or not one["status"]["expectedPods"]
    ]


def test_a_budget_holds_a_drain_up(applied: tuple[list[Manifest], str], cluster: ControlPlane) -> None:
    """While none of a service's pods may go, an eviction is refused, naming the budget."""
    manifests, namespace = applied
    for budget in of_kind(manifests, "PodDisruptionBudget").values():
        selector = ",".join(f"{k}={v}" for k, v in budget["spec"]["selector"]["matchLabels"].items())
        found = cluster.objects("pods", namespace, f"--selector={selector}")
        assert found, f"{budget['metadata']['name']} has no pods"
    name = next(
        (
            name
            for name, one in of_kind(manifests, "PodDisruptionBudget").items()
            if one["spec"].get("minAvailable") or one["spec"].get("maxUnavailable")
        ),
        None,
    )
    assert name, "no budget"
    budget = of_kind(manifests, "PodDisruptionBudget")[name]
    whole = {**budget, "spec": {"selector": budget["spec"]["selector"], "maxUnavailable": 0}}
    selector = ",".join(f"{k}={v}" for k, v in budget["spec"]["selector"]["matchLabels"].items())
    cluster.kubectl("delete", namespace, "poddisruptionbudget", name)
    try:
        cluster.apply([whole])
        (pod, *_) = cluster.objects("pods", namespace, f"--selector={selector}")
        node = pod["spec"]["nodeName"]
        with pytest.raises(KubectlFailed, match="disruption budget"):
            cluster.kubectl(
                "drain", node, f"--pod-selector={selector}", "--timeout=3s", "--delete-emptydir-data"
            )
        cluster.kubectl("uncordon", node)
    finally:
        cluster.kubectl("delete", namespace, "poddisruptionbudget", name)
        cluster.apply([budget])
