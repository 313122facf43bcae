"""Manifests as kustomize renders them, and what can be seen in them without a cluster."""

from __future__ import annotations

import copy
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import certifi
import yaml
from control_plane import kubectl

from alphapanda.settings.catalogue import catalogue
from alphapanda.settings.secret_files import of_file_variable
from alphapanda.settings.sources import SettingsInvalid, load_settings

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ROOT / "deploy" / "k8s" / "overlays"
Manifest = dict[str, Any]

WORKLOADS = {"Deployment", "StatefulSet", "Job", "CronJob", "DaemonSet"}
KNOWN = {setting.variable: setting for setting in catalogue()}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
ANY_SECRET = "not-a-secret-not-a-secret-not-a-secret-not-a-secret"  # pragma: allowlist secret
SECRETS = {
    "ALPHAPANDA_DATABASE__URL": f"postgresql+asyncpg://alphapanda:{ANY_SECRET}@postgres:5432/alphapanda?ssl=verify-full",
    "ALPHAPANDA_REDIS__URL": f"rediss://:{ANY_SECRET}@redis:6379/0",
}
"""In place of secrets whose form is checked; the others are any text that is long enough."""


@cache
def _rendered(overlay: str, *options: str) -> str:
    kustomize = [kubectl() or "kubectl", "kustomize"]
    if not options:
        return subprocess.run(
            [*kustomize, str(OVERLAYS / overlay)], capture_output=True, text=True, check=True
        ).stdout
    with tempfile.TemporaryDirectory(dir=OVERLAYS.parent) as folder:  # as a desk's own overlay over this one
        chosen = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"../overlays/{overlay}"],
            "components": [f"../components/{option}" for option in options],
        }
        chosen["namespace"] = namespace_of(rendered(overlay))
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(chosen), encoding="utf-8")
        return subprocess.run([*kustomize, folder], capture_output=True, text=True, check=True).stdout


def rendered(overlay: str, *options: str) -> list[Manifest]:
    """An overlay's manifests, as `kubectl apply -k` would send them; the caller may change them.

    Args:
        overlay: its folder's name.
        options: components that are chosen besides.
    """
    return [one for one in yaml.safe_load_all(_rendered(overlay, *options)) if one]


def of_kind(manifests: Sequence[Manifest], *kinds: str) -> dict[str, Manifest]:
    """Manifests of these kinds, by name."""
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] in kinds}


def namespace_of(manifests: Sequence[Manifest]) -> str:
    """The namespace that everything of an overlay is in."""
    (name,) = {one["metadata"]["namespace"] for one in of_kind(manifests, "Deployment").values()}
    return str(name)


def pod_template(workload: Manifest) -> Manifest:
    """What a workload's pods are made of: metadata and spec."""
    spec = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template: Manifest = spec["template"]
    return template


def pods(manifests: Sequence[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Each workload with the template of its pods."""
    for one in manifests:
        if one["kind"] in WORKLOADS:
            yield one, pod_template(one)


def named(workload: Manifest) -> str:
    """As kubectl names it."""
    return f"{workload['kind'].lower()}/{workload['metadata']['name']}"


def is_ours(container: Mapping[str, Any]) -> bool:
    """Whether a container runs Alpha Panda's image."""
    name: str = container["image"].partition("@")[0].rpartition("/")[2]
    return name.partition(":")[0] == "alphapanda"


def containers(template: Manifest) -> list[Manifest]:
    """Containers of a pod, those that come before the others first."""
    spec = template["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def services(manifests: Sequence[Manifest]) -> dict[str, Manifest]:
    """The Deployments of Alpha Panda's services, by name."""
    component = "app.kubernetes.io/component"
    found = of_kind(manifests, "Deployment")
    return {name: one for name, one in found.items() if one["metadata"]["labels"].get(component) == "service"}


def missing_probes(manifests: Sequence[Manifest]) -> list[str]:
    """Each probe that a service's container lacks: one that hangs, or isn't ready, would go unnoticed."""
    return [
        f"{named(workload)}: container {container['name']} has no {probe}"
        for workload in services(manifests).values()
        for container in pod_template(workload)["spec"]["containers"]
        for probe in PROBES
        if not container.get(probe)
    ]


def variables(container: Manifest, manifests: Sequence[Manifest]) -> dict[str, str]:
    """A container's environment variables, those of ConfigMaps among them; its own win over those that it takes whole."""
    maps: dict[str, dict[str, str]] = {
        name: one.get("data", {}) for name, one in of_kind(manifests, "ConfigMap").items()
    }
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        found |= maps[source["configMapRef"]["name"]]
    for one in container.get("env", ()):
        if "value" in one:
            found[one["name"]] = one["value"]
            continue
        given = one["valueFrom"]["configMapKeyRef"]  # secrets come as files
        if given["key"] in maps[given["name"]] or not given.get("optional"):
            found[one["name"]] = maps[given["name"]][given["key"]]
    return found


def environment(container: Manifest, manifests: Sequence[Manifest]) -> dict[str, str]:
    """A container's environment variables of ours, with texts of the right form in place of secrets."""
    found = variables(container, manifests)
    given = {}
    for name, value in found.items():
        if name.startswith("ALPHAPANDA_"):
            secret = of_file_variable(name, KNOWN)
            is_mounted = value.startswith(
                tuple(f"{one['mountPath']}/" for one in container.get("volumeMounts", ()))
            )
            given[secret.variable if secret else name] = (
                _secret(secret.variable) if secret else certifi.where() if is_mounted else value
            )
    return given


def _secret(variable: str) -> str:
    return SECRETS.get(variable, ANY_SECRET)


def refused_settings(manifests: Sequence[Manifest]) -> list[str]:
    """What each container's settings are refused for: a name that doesn't exist, a value that isn't allowed."""
    found = []
    for workload, template in pods(manifests):
        for container in filter(is_ours, containers(template)):
            try:
                load_settings(environment(container, manifests), dotenv=Path("/nonexistent"))
            except SettingsInvalid as error:
                found.append(f"{named(workload)}: container {container['name']}: {error}")
    return found


def planted(manifests: Sequence[Manifest], kind: str, name: str) -> tuple[list[Manifest], Manifest]:
    """A copy of the manifests, and in it the one to be spoilt."""
    spoilt = copy.deepcopy(list(manifests))
    return spoilt, of_kind(spoilt, kind)[name]
