"""Planted faults that Kubernetes itself finds, and names, before anything of them runs."""

from __future__ import annotations

import pytest
from control_plane import ControlPlane, KubectlFailed
from manifests import namespace_of, of_kind, planted, pod_template, rendered

DRY = "--dry-run=server"


@pytest.fixture(scope="module")
def namespace(cluster: ControlPlane) -> str:
    """The dev overlay's namespace, with its rules; a dry run needs it there."""
    manifests = rendered("dev")
    cluster.apply(list(of_kind(manifests, "Namespace").values()))
    return namespace_of(manifests)


def test_a_privileged_pod_is_found(cluster: ControlPlane, namespace: str) -> None:
    """The Deployment draws a warning, which is an error here, and its pod would be refused; both name what is wrong."""
    _spoilt, deployment = planted(rendered("dev"), "Deployment", "risk")
    (container,) = pod_template(deployment)["spec"]["containers"]
    container["securityContext"]["privileged"] = True
    container["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(KubectlFailed, match=r'privileged \(container "alphapanda" must not set'):
        cluster.apply([deployment], DRY)
    template = pod_template(deployment)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "risk", "namespace": namespace, "labels": template["metadata"]["labels"]},
        "spec": {key: value for key, value in template["spec"].items() if key != "serviceAccountName"},
    }
    with pytest.raises(
        KubectlFailed, match=r'forbidden: violates PodSecurity "restricted:v1.36": privileged'
    ):
        cluster.apply([pod], DRY)


def test_a_misspelt_field_is_found(cluster: ControlPlane, namespace: str) -> None:
    """In what Kubernetes defines and in what an operator does: each is named with its path."""
    _, deployment = planted(rendered("dev"), "Deployment", "risk")
    deployment["spec"]["replica"] = 3
    with pytest.raises(KubectlFailed, match=r"\.spec\.replica: field not declared in schema"):
        cluster.apply([deployment], DRY)
    _, topic = planted(rendered("production"), "KafkaTopic", "market.ticks")
    topic["metadata"]["namespace"] = namespace
    topic["spec"]["partition"] = 4
    with pytest.raises(KubectlFailed, match=r"\.spec\.partition: field not declared in schema"):
        cluster.apply([topic], DRY)
