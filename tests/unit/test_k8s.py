"""deploy/k8s, read as Kubernetes reads it: generated files are up to date, settings exist and agree."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import k8s_kafka
import k8s_manifests
import pytest
import yaml
from sqlalchemy import make_url

from alphapanda.app.edges import AT_THE_BROKER
from alphapanda.app.groups import GROUPS
from alphapanda.app.process import STOP_SECONDS
from alphapanda.app.resources import open_redis
from alphapanda.app.security import SERVICES
from alphapanda.contract.catalogue import service_descriptors
from alphapanda.mesh.dev_certificates import new_authority
from alphapanda.mesh.health_port import LIVENESS
from alphapanda.resilience.lanes import Lane
from alphapanda.settings.model import Settings
from alphapanda.settings.sources import SettingsInvalid, load_settings
from alphapanda.storage.laned_engine import pool_size_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/k8s"

NO_SECRET = "not-a-secret-not-a-secret"  # pragma: allowlist secret
SECRETS = {
    "/etc/alphapanda/database/url": f"postgresql+asyncpg://a:{NO_SECRET}@postgres-rw:5432/alphapanda?ssl=verify-full",
    "/etc/alphapanda/redis/url": f"rediss://:{NO_SECRET}@redis:6379/0",
    "/etc/alphapanda/kafka-user/password": NO_SECRET,
    "/etc/alphapanda/auth/private-key": "",
    "/etc/alphapanda/zerodha/session-key": 2 * NO_SECRET,
    "/etc/alphapanda/zerodha-app/api-key": "key",
    "/etc/alphapanda/zerodha-app/api-secret": NO_SECRET,
    "/etc/alphapanda/auth/admin-password": NO_SECRET,
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
        name.removesuffix("_FILE") if value in SECRETS else name: SECRETS.get(value, value)
        for name, value in given.items()
    }


DEPLOYMENTS = {
    name: next(one for one in documents(f"base/{name}.yaml") if one["kind"] == "Deployment")
    for name in SERVICES
}
JOBS = {one["metadata"]["name"]: one for one in documents("base/jobs.yaml")}
(EVERY_SERVICE,) = documents("base/patches/service.yaml")
COMPONENTS = {
    overlay: [
        name.removeprefix("../../")
        for name in yaml.safe_load((FOLDER / f"overlays/{overlay}/kustomization.yaml").read_text())[
            "components"
        ]
    ]
    for overlay in ("dev", "production")
}
COMPONENTS["zerodha"] = [*COMPONENTS["production"], "components/zerodha"]


def variables(overlay: str, name: str, authority: Path) -> dict[str, str]:
    """What a container of ours has for settings: of the ConfigMap, of its own, and of the components' patches.

    The overlay `zerodha` is production with that component.
    """
    found = settings_map(
        *(line for part in COMPONENTS[overlay] for line in merged(part)),
        *merged(f"overlays/{'production' if overlay == 'zerodha' else overlay}"),
    )
    is_service = name in SERVICES
    found |= environment(EVERY_SERVICE) if is_service else {}
    found |= environment((DEPLOYMENTS | JOBS)[name])
    for part in COMPONENTS[overlay]:
        for file in sorted((FOLDER / part / "patches").glob("*.yaml")):
            for patch in documents(str(file.relative_to(FOLDER))):
                for_all = is_service and file.name == "service.yaml"
                if patch["metadata"]["name"] == name or (
                    for_all and (part != "components/zerodha" or name in AT_THE_BROKER)
                ):
                    found |= environment(patch)
    return {
        key: str(authority) if value == "/etc/alphapanda/kafka-ca/ca.crt" else value
        for key, value in found.items()
        if key.startswith("ALPHAPANDA_")
    }


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an authority, which Kafka's client reads."""
    file = tmp_path_factory.mktemp("authority") / "ca.crt"
    file.write_bytes(new_authority(datetime.now(UTC), 1).certificate)
    return file


def test_generated_manifests_are_up_to_date() -> None:
    """`make k8s-manifests` writes them."""
    for path, text in k8s_manifests.files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make k8s-manifests`"


@pytest.mark.parametrize("overlay", ["dev", "production", "zerodha"])
@pytest.mark.parametrize("name", [*SERVICES, "migrate", "topics"])
def test_every_setting_exists_and_they_agree(
    overlay: str, name: str, authority: Path, tmp_path: Path
) -> None:
    """As a container reads them; in production nothing is in plaintext, and each service is a user of its own in Kafka."""
    settings = load_settings(variables(overlay, name, authority), dotenv=tmp_path / "none")
    assert settings.environment == ("development" if overlay == "dev" else "production")
    opens_kafka = overlay != "dev" and name != "migrate"
    assert settings.kafka.sasl_username == (f"alphapanda-{name}" if opens_kafka else "")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_answers_and_is_probed_where_the_others_look_for_it(
    name: str, authority: Path, tmp_path: Path
) -> None:
    """Probes ask by the service's full name, on the port without TLS: a kubelet speaks none."""
    settings = load_settings(variables("dev", name, authority), dotenv=tmp_path / "none")
    assert name == "ops" or settings.mesh.target(name) == f"dns:///{name}:50051"
    assert container(DEPLOYMENTS[name])["args"] == ["serve", name, "--port", "50051"]
    probe = container(DEPLOYMENTS[name])["readinessProbe"]["grpc"]
    known = {each.full_name for each in service_descriptors() if each.full_name.split(".")[1] == name}
    assert probe["port"] == settings.api.health_port
    assert probe["service"] in known - {"panda.auth.v1.BrokerSessionService"}
    for other in ("startupProbe", "livenessProbe"):
        assert container(EVERY_SERVICE)[other]["grpc"] == {
            "port": settings.api.health_port,
            "service": LIVENESS,
        }


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_a_setting_that_does_not_exist_is_found(overlay: str, authority: Path, tmp_path: Path) -> None:
    """Planted: one letter too few."""
    planted = variables(overlay, "ops", authority) | {"ALPHAPANDA_TLS__CERTIFICAT": "x"}
    with pytest.raises(SettingsInvalid, match="ALPHAPANDA_TLS__CERTIFICAT"):
        load_settings(planted, dotenv=tmp_path / "none")


@pytest.mark.parametrize("name", ["trading", "marketdata", "portfolio", "auth", "ops"])
def test_what_must_run_once_is_never_two_processes(name: str) -> None:
    """Not even during a rollout; and nothing scales it."""
    spec = DEPLOYMENTS[name]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    scaled = [
        one["spec"]["scaleTargetRef"]["name"]
        for one in documents("components/keda/strategy.yaml", "components/keda/risk.yaml")
    ]
    assert name not in scaled


def test_scaling_stops_at_the_partitions() -> None:
    """A process more than there are partitions would have nothing to do; groups and topics are the program's."""
    topics = k8s_manifests.deployment()
    for name in ("strategy", "risk"):
        (scaled,) = documents(f"components/keda/{name}.yaml")
        (trigger,) = scaled["spec"]["triggers"]
        group = trigger["metadata"]["consumerGroup"].removeprefix(k8s_kafka.GROUPS_PREFIX)
        assert trigger["metadata"]["topic"] in topics.topics(*GROUPS[group])
        assert scaled["spec"]["maxReplicaCount"] <= topics.policy(trigger["metadata"]["topic"]).partitions


def test_secrets_that_are_mounted_are_made() -> None:
    """In dev by make_secrets.py, in production by cert-manager, External Secrets and Strimzi: by name and key."""
    source = (FOLDER / "overlays/dev/make_secrets.py").read_text(encoding="utf-8")
    known = {f"{name}-tls" for name in (*SERVICES, "cli")} | {"database", "redis", "auth"}
    mounted = {
        volume["secret"]["secretName"]
        for manifest in [
            *DEPLOYMENTS.values(),
            *JOBS.values(),
            EVERY_SERVICE,
            *documents("components/cli/cli.yaml"),
        ]
        if manifest["kind"] in {"Deployment", "Job"}
        for volume in manifest["spec"]["template"]["spec"].get("volumes", ())
        if "secret" in volume
    }
    assert mounted == known
    assert all(f'"{name}"' in source for name in ("database", "redis", "auth", "cli"))
    made = {one["spec"]["secretName"] for one in documents("components/cert-manager/certificates.yaml")}
    made |= {one["metadata"]["name"] for one in documents("components/external-secrets/secrets.yaml")}
    assert known <= made


def test_the_rights_of_a_user_are_its_services_edges() -> None:
    """Planted: a user with a right too many, and one with a right too few, aren't what the edges give."""
    users = {one["metadata"]["name"]: one for one in documents("components/strimzi/users.yaml")}
    rules = users["alphapanda-portfolio"]["spec"]["authorization"]["acls"]
    writes = {rule["resource"]["name"] for rule in rules if "Write" in rule["operations"]}
    assert writes == {
        f"{broker}.{topic}"
        for broker in ("paper", "zerodha")
        for topic in ("portfolio.snapshots", "orders.filled.dlq")
    }
    assert users.keys() == {f"alphapanda-{name}" for name in (*SERVICES, "topics", "keda")}


def test_stores_are_the_ones_of_compose() -> None:
    """One version of each, to be changed in both places."""
    composed = re.findall(
        r"docker\.io/\S+?:v?[\d.]+", (ROOT / "deploy/compose/compose.yaml").read_text(encoding="utf-8")
    )
    files = [*(FOLDER / "components/dev-stores").glob("*.yaml"), FOLDER / "components/redis/redis.yaml"]
    files.append(FOLDER / "components/jaeger/jaeger.yaml")
    used = {
        image for file in files for image in re.findall(r"docker\.io/\S+", file.read_text(encoding="utf-8"))
    }
    assert used <= set(composed)
    assert len(used) == len({"kafka", "postgres", "redis", "jaeger"})


def test_production_verifies_its_stores(authority: Path, tmp_path: Path) -> None:
    """The addresses in the Secrets make the clients check certificates by the authority that is mounted."""
    templates = {
        one["metadata"]["name"]: one["spec"]["target"]["template"]["data"]
        for one in documents("components/external-secrets/secrets.yaml")
        if "template" in one["spec"].get("target", {})
    }
    urls = {name: re.sub(r"\{\{.*?\}\}", "x", templates[name]["url"]) for name in ("database", "redis")}
    settings = load_settings(variables("production", "risk", authority), dotenv=tmp_path / "none")
    assert parse_qs(urlsplit(urls["redis"]).query)["ssl_ca_certs"] == [str(settings.tls.ca)]
    redis = open_redis(urls["redis"].replace(str(settings.tls.ca), str(authority)), settings.retry, 1.0)
    context = redis.connection_pool.make_connection().ssl_context
    assert (context.check_hostname, context.ca_certs) == (True, str(authority))
    (patch,) = documents("components/cloudnative-pg/patches/service.yaml")
    assert environment(patch) == {"PGSSLROOTCERT": "/etc/alphapanda/postgres-ca/ca.crt"}
    assert make_url(urls["database"]).query == {"ssl": "verify-full"}


def test_only_who_calls_zerodha_reaches_the_internet() -> None:
    """And is labelled for the egress gateway that has the registered address."""
    found = yaml.safe_load((FOLDER / "components/zerodha/kustomization.yaml").read_text(encoding="utf-8"))
    pattern = found["patches"][0]["target"]["name"]
    assert {name for name in SERVICES if re.search(pattern, name)} == set(AT_THE_BROKER)
    (policy,) = documents("components/zerodha/network-policies.yaml")
    (chosen,) = policy["spec"]["podSelector"]["matchExpressions"]
    assert set(chosen["values"]) == set(AT_THE_BROKER)


def test_postgresql_has_connections_for_all() -> None:
    """For every process that there may be, with all of its connections open, and a few for operators and people."""
    size = Settings().database.pool_size
    doubled = {Lane.QUERY: 1, Lane.COMMAND: 1}
    each = sum(pool_size_of(lane, size) * doubled.get(lane, 2) for lane in Lane)
    scaled = [
        one["spec"]["maxReplicaCount"]
        for one in documents("components/keda/strategy.yaml", "components/keda/risk.yaml")
    ]
    (cluster, _) = documents("components/cloudnative-pg/postgres.yaml")
    (server, _) = documents("components/dev-stores/postgres.yaml")
    most = {
        "dev": (len(SERVICES), int(container(server)["args"][-1].removeprefix("max_connections="))),
        "production": (
            len(SERVICES) - len(scaled) + sum(scaled),
            int(cluster["spec"]["postgresql"]["parameters"]["max_connections"]),
        ),
    }
    for overlay, (processes, connections) in most.items():
        assert processes * each + 2 * size + 20 <= connections, overlay


def test_a_service_has_time_to_start_and_to_end() -> None:
    """Longer than it waits for what it depends on, and than its end takes; then Kubernetes kills it."""
    settings, pod = Settings(), EVERY_SERVICE["spec"]["template"]["spec"]
    startup = container(EVERY_SERVICE)["startupProbe"]
    assert (
        startup["periodSeconds"] * startup["failureThreshold"]
        >= 2 * settings.mesh.dependency_patience_seconds
    )
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_found_and_can_be_drained(name: str) -> None:
    """By the names of its pods' addresses, so that calls take turns; and one pod at a time leaves a node."""
    (deployment, service, budget) = documents(f"base/{name}.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= labels.items()
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= {
        port["name"] for port in container(EVERY_SERVICE)["ports"]
    }
    assert budget["kind"] == "PodDisruptionBudget"
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
