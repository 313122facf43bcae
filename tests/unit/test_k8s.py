"""deploy/k8s, read as Kubernetes reads it: generated files are up to date, settings exist and agree."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from alphapanda.app.security import SERVICES
from alphapanda.settings.sources import SettingsInvalid, load_settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/k8s"
sys.path.append(str(ROOT / "tools"))

import k8s_manifests  # noqa: E402 - of tools

SECRETS = {
    "/etc/alphapanda/database/url": "postgresql+asyncpg://alphapanda@postgres:5432/alphapanda",
    "/etc/alphapanda/redis/url": "redis://redis:6379/0",
    "/etc/alphapanda/auth/private-key": "",
    "/etc/alphapanda/auth/admin-password": "not-a-secret-not-a-secret",  # pragma: allowlist secret
}


def documents(*files: str) -> list[dict[str, Any]]:
    """The manifests in these files."""
    return [one for file in files for one in yaml.safe_load_all((FOLDER / file).read_text(encoding="utf-8"))]


def settings_map(*literals: str) -> dict[str, str]:
    """The variables of the ConfigMap `settings`: those of the base and what components change."""
    lines = [*(FOLDER / "base/settings.env").read_text(encoding="utf-8").splitlines(), *literals]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def merged(folder: str) -> list[str]:
    """What a kustomization changes of the ConfigMap `settings`."""
    found = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text(encoding="utf-8"))
    return [line for made in found.get("configMapGenerator", ()) for line in made.get("literals", ())]


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    """The one container of a pod template."""
    (one,) = manifest["spec"]["template"]["spec"]["containers"]
    return one


def environment(manifest: dict[str, Any]) -> dict[str, str]:
    """What a container has of its own, with what is in a Secret in place of its path."""
    given = {each["name"]: each["value"] for each in container(manifest).get("env", ())}
    return {
        name.removesuffix("_FILE"): SECRETS[value] if name.endswith("_FILE") else value
        for name, value in given.items()
    }


DEPLOYMENTS = {
    name: next(one for one in documents(f"base/{name}.yaml") if one["kind"] == "Deployment")
    for name in SERVICES
}
(EVERY_SERVICE,) = documents("base/patches/service.yaml")


def test_generated_manifests_are_up_to_date() -> None:
    """`make k8s-manifests` writes them."""
    for path, text in k8s_manifests.files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make k8s-manifests`"


@pytest.mark.parametrize("name", SERVICES)
def test_every_setting_of_a_service_exists_and_they_agree(name: str, tmp_path: Path) -> None:
    """As its container reads them in the dev overlay; each answers where the others look for it."""
    variables = settings_map(*merged("components/jaeger"))
    variables |= environment(EVERY_SERVICE) | environment(DEPLOYMENTS[name])
    settings = load_settings(variables, dotenv=tmp_path / "none")
    assert name == "ops" or settings.mesh.target(name) == f"dns:///{name}:50051"
    assert container(DEPLOYMENTS[name])["args"] == ["serve", name, "--port", "50051"]
    probe = container(DEPLOYMENTS[name])["readinessProbe"]["grpc"]
    assert probe["port"] == settings.api.health_port
    assert probe["service"].split(".")[1] == name


def test_a_setting_that_does_not_exist_is_found(tmp_path: Path) -> None:
    """Planted: one letter too few."""
    with pytest.raises(SettingsInvalid, match="ALPHAPANDA_TLS__CERTIFICAT"):
        load_settings(settings_map("ALPHAPANDA_TLS__CERTIFICAT=x"), dotenv=tmp_path / "none")
