"""Probes and settings of the overlays, and planted faults in them: each is found by its name, before anything runs."""

from __future__ import annotations

import pytest
from manifests import (
    environment,
    missing_probes,
    of_kind,
    planted,
    pod_template,
    refused_settings,
    rendered,
    services,
)

from alphapanda.app.security import SERVICES


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_every_service_is_there_with_all_its_probes_and_settings_that_exist(
    overlay: str, kubernetes_tools: None
) -> None:
    """And each setting has a value that is allowed, all of a container's together."""
    manifests = rendered(overlay)
    assert set(services(manifests)) == set(SERVICES)
    assert missing_probes(manifests) == []
    assert refused_settings(manifests) == []
    assert all(
        environment(pod_template(one)["spec"]["containers"][0], manifests)
        for one in services(manifests).values()
    )


def test_a_missing_probe_is_found(kubernetes_tools: None) -> None:
    """Planted: trading without the probe that has a hung process started again."""
    spoilt, deployment = planted(rendered("dev"), "Deployment", "trading")
    (container,) = pod_template(deployment)["spec"]["containers"]
    del container["livenessProbe"]
    assert missing_probes(spoilt) == ["deployment/trading: container alphapanda has no livenessProbe"]


def test_a_setting_that_does_not_exist_is_found(kubernetes_tools: None) -> None:
    """Planted: one letter too few in a ConfigMap that every service reads; each says which name is meant."""
    manifests = rendered("dev")
    (name,) = (one for one in of_kind(manifests, "ConfigMap") if one.startswith("settings"))
    spoilt, settings = planted(manifests, "ConfigMap", name)
    settings["data"]["ALPHAPANDA_KAFKA__BOOTSTRAP_SERVER"] = settings["data"].pop(
        "ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS"
    )
    found = refused_settings(spoilt)
    assert {one.split(":")[0] for one in found} >= {f"deployment/{service}" for service in SERVICES}
    assert all("ALPHAPANDA_KAFKA__BOOTSTRAP_SERVER" in one for one in found)
    assert all("ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS" in one for one in found)
