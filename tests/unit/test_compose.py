"""deploy/compose, read as compose reads it: settings exist, addresses meet, versions are pinned, nothing is privileged."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from alphapanda import __version__
from alphapanda.settings.sources import SettingsInvalid, load_settings

FOLDER = Path(__file__).resolve().parents[2] / "deploy/compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVICES = {"instruments", "marketdata", "strategy", "risk", "trading", "portfolio", "auth", "ops"}
OURS = {name: one for name, one in CONTAINERS.items() if "alphapanda" in one["image"]}
SECRETS = {
    "/prepared/secret": "not-a-secret-not-a-secret-not-a-secret-not-a-secret",  # pragma: allowlist secret
    "/prepared/admin-password": "not-a-secret-not-a-secret",  # pragma: allowlist secret
    "/prepared/database-url": "postgresql+asyncpg://alphapanda@postgres:5432/alphapanda",
    "/prepared/redis-url": "redis://redis:6379/0",
}

TOP = {"name", "services", "volumes"}
KEYS = {
    "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck", "image", "mem_limit", "pids_limit",
    "ports", "profiles", "read_only", "restart", "security_opt", "stop_grace_period", "tmpfs", "user", "volumes",
}  # fmt: skip
CHECK_KEYS = {"test", "interval", "timeout", "retries", "start_period"}
"""Of the Compose specification, those that are used: podman-compose lets a misspelt one pass."""


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    """What a container has of ours, with what is in the volume's files in place of their paths."""
    given: dict[str, str] = container.get("environment", {})
    assert all(isinstance(value, str) for value in given.values())
    return {
        name.removesuffix("_FILE"): SECRETS[value] if name.endswith("_FILE") else value
        for name, value in given.items()
        if name.startswith("ALPHAPANDA_")
    }


def _prepare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare", FOLDER / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_setting_of_a_container_exists_and_they_agree(name: str, tmp_path: Path) -> None:
    """The settings are read as the container reads them."""
    load_settings(_environment(OURS[name]), dotenv=tmp_path / "none")


def test_a_setting_that_does_not_exist_is_found(tmp_path: Path) -> None:
    """Planted: one letter too few."""
    planted = _environment(OURS["ops"]) | {"ALPHAPANDA_TLS__CERTIFICAT": "x"}
    with pytest.raises(SettingsInvalid, match="ALPHAPANDA_TLS__CERTIFICAT"):
        load_settings(planted, dotenv=tmp_path / "none")


def test_every_service_has_a_container_of_its_name_with_a_certificate_of_its_own() -> None:
    """And answers where the others look for it."""
    assert {name for name, one in OURS.items() if "serve" in one.get("command", ())} == SERVICES
    for name in SERVICES:
        one = OURS[name]
        assert one["command"] == ["serve", name]
        settings = load_settings(_environment(one))
        assert settings.tls.certificate == Path(f"/prepared/certs/services/{name}.pem")
        assert settings.tls.key == Path(f"/prepared/certs/services/{name}.key")
        for other in SERVICES - {"ops"}:
            assert settings.mesh.target(other).split(":")[0] == other
        assert (one["depends_on"].keys(), one["restart"]) == ({"migrate", "topics"}, "unless-stopped")
    assert set(_prepare().NAMES) == SERVICES


def test_no_key_is_misspelt() -> None:
    """What compose would refuse, or pass over in silence."""
    assert {key for key in COMPOSE if not key.startswith("x-")} <= TOP
    for name, one in CONTAINERS.items():
        assert one.keys() <= KEYS, name
        assert one.get("healthcheck", {}).keys() <= CHECK_KEYS, name
        conditions = {condition for wait in one.get("depends_on", {}).values() for condition in wait.values()}
        assert conditions <= {"service_completed_successfully", "service_healthy"}, name


def test_nothing_of_ours_can_write_its_root_or_gain_a_privilege() -> None:
    """Only what makes the certificates is root, and that without a capability."""
    for name, one in OURS.items():
        assert (one["read_only"], one["cap_drop"]) == (True, ["ALL"]), name
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert one["user"] == ("0:0" if name == "prepare" else "10001:10001")
        assert name == "prepare" or all(
            mount.endswith(":ro") for mount in one["volumes"] if mount.startswith("prepared")
        )


def test_every_image_has_a_version_and_every_port_is_this_machine_s() -> None:
    """No `latest`, and nothing that another machine reaches."""
    for name, one in CONTAINERS.items():
        assert re.search(r":v?\d+\.\d+(\.\d+)?\}?$", one["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", ())), name


def test_the_image_is_of_this_version_and_every_other_may_be_pinned() -> None:
    """`make image` builds the one that is started; a desk gives digests by environment, without changing the file."""
    assert {one["image"] for one in OURS.values()} == {
        f"${{ALPHAPANDA_IMAGE:-localhost/alphapanda:{__version__}}}"
    }
    for name in CONTAINERS.keys() - OURS.keys():
        assert CONTAINERS[name]["image"].startswith(f"${{{name.upper()}_IMAGE:-docker.io/"), name


def test_every_file_that_is_mounted_is_there_and_every_volume_declared() -> None:
    """What compose would make an empty folder of, or refuse."""
    for name, one in CONTAINERS.items():
        for mount in one.get("volumes", ()):
            source = mount.split(":")[0]
            known = (FOLDER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
            assert known, f"{name}: {mount}"
        assert set(one.get("depends_on", ())) <= CONTAINERS.keys()


def test_prometheus_asks_every_service_and_has_the_alerts() -> None:
    """At the port that the settings open, with the rules of deploy/observability, at the same intervals."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    shipped = yaml.safe_load((FOLDER / "../observability/prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    port = load_settings(_environment(OURS["ops"])).monitoring.prometheus_port
    assert set(job["static_configs"][0]["targets"]) == {f"{name}:{port}" for name in SERVICES}
    assert (config["global"], config["rule_files"]) == (shipped["global"], shipped["rule_files"])
    assert job["job_name"] == shipped["scrape_configs"][0]["job_name"]


def test_what_is_prepared_is_made_once_and_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start changes no password; the authority's key stays its maker's."""
    prepare, folder = _prepare(), tmp_path / "prepared"
    monkeypatch.setattr(prepare.subprocess, "run", lambda *_, **__: None)
    (folder / "certs").mkdir(parents=True)
    (folder / "certs" / "ca.key").touch(0o600)
    (tmp_path / "home").mkdir()
    prepare.main(folder, tmp_path / "home")
    before = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    prepare.main(folder, tmp_path / "home")
    assert before == {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    assert {f"/prepared/{name}" for name in before} >= SECRETS.keys()
    assert before["postgres-password"] in before["database-url"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir() if path.is_file()} == {0o644}
    assert (folder / "certs" / "ca.key").stat().st_mode & 0o777 == 0o600
