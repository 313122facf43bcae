"""Each pod template of ours as it is in the overlay, started on the built image beside real stores: probes, trade, edges."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import pytest
from expected_edges import API, program_edges
from jaeger_server import missing_for_jaeger
from kafka_server import missing_for_kafka
from manifests import of_kind, pod_template, services
from platform_of_pods import UP_SECONDS, PlatformOfPods
from played_pods import until
from policy_matrix import Edge

from alphapanda.app.security import SERVICES

pytestmark = pytest.mark.timeout(1200)  # nine containers on a machine that may be busy

ALL_PROBES = ["startupProbe", "readinessProbe", "livenessProbe"]
ORDER_SECONDS = 240.0
RARELY_OPENED = {
    ("risk", "portfolio"),
    ("strategy", "marketdata"),
    ("marketdata", "portfolio"),
    ("portfolio", "trading"),
    ("portfolio", "risk"),
}
"""Risk asks for the books when a broker is reconciled, after a repair or a restore, and portfolio then asks trading; with a live broker
portfolio compares its books and tells risk what differs; strategies ask for the broker's bars of the
past; a feed of the broker asks what is held, whose ticks it subscribes to."""


@pytest.fixture(scope="module")
def image(kubernetes_tools: None, require_or_skip: Callable[[str], NoReturn]) -> str:
    """The built image."""
    name = os.environ.get("TEST_IMAGE", "")
    if not name or shutil.which("podman") is None:
        require_or_skip(
            "NO IMAGE: `make image`, then `make k8s-check`, which needs podman (apt-get install podman runc)"
        )
    for missing in (missing_for_kafka(), missing_for_jaeger()):
        if missing:
            require_or_skip(missing)
    return name


@pytest.fixture(scope="module")
def platform(image: str) -> Iterator[PlatformOfPods]:
    """The dev overlay's pods, running."""
    folder = Path(tempfile.mkdtemp(prefix="panda-pods-", dir="/tmp"))
    folder.chmod(0o755)
    platform = PlatformOfPods(folder, image)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_every_service_answers_its_probes(platform: PlatformOfPods) -> None:
    """As kubelet asks them: the start's, readiness by the service's name, and that it lives; auth among them."""
    until(
        UP_SECONDS,
        lambda: all(platform.answering(service) == ALL_PROBES for service in SERVICES),
        lambda: {name: (platform.answering(name), platform.pods.logs(name)[-1500:]) for name in SERVICES},
    )


def test_every_pod_runs_as_restricted_as_its_template_says(platform: PlatformOfPods) -> None:
    """As user 10001, without a capability or new privileges, on a root that nobody can write, within its memory."""
    for service in (*SERVICES, "cli"):
        for seen in platform.pods.containers(service):
            assert seen["State"]["Running"], platform.pods.logs(service)
            assert seen["HostConfig"]["ReadonlyRootfs"]
            assert seen["Config"]["User"] == "10001:10001"
            assert not seen["EffectiveCaps"]
            assert "no-new-privileges" in seen["HostConfig"]["SecurityOpt"]
            assert seen["HostConfig"]["Memory"] > 0


def test_an_order_is_traded_and_its_trace_kept(platform: PlatformOfPods) -> None:
    """Asked in the overlay's pod for commands: all serve, a paper order ends in the books, and Jaeger has its trace."""
    platform.sign_in()
    until(
        UP_SECONDS,
        lambda: {one["state"] for one in platform.asked("status")["services"]} == {"SERVICE_STATE_SERVING"},
        lambda: platform.asked("status"),
    )
    deadline = time.monotonic() + ORDER_SECONDS
    order, status = "", ""
    while status != "ORDER_STATUS_FILLED":
        assert time.monotonic() < deadline, platform.asked("orders")
        placed = platform.asked("orders", "place", "buy", "NSE:INFY", "10", "--request-id", uuid4().hex)
        order = placed["order"]["state"]["orderId"]
        time.sleep(3)
        states = {
            one["state"]["orderId"]: one["state"]["status"] for one in platform.asked("orders")["orders"]
        }
        status = states.get(order, "")
    until(
        ORDER_SECONDS,
        lambda: any(
            one["symbol"] == "NSE:INFY" and int(one.get("quantity", 0)) >= 10
            for one in platform.asked("positions").get("positions", ())
        ),
        lambda: platform.asked("positions"),
    )
    until(
        60,
        lambda: platform.jaeger.search("trading", {"alphapanda.order_id": order}),
        platform.jaeger.services,
    )
    assert not platform.jaeger.search("trading", {"alphapanda.order_id": str(uuid4())})


def test_the_edges_that_were_opened_are_those_that_the_policies_allow(platform: PlatformOfPods) -> None:
    """Both ways: nobody connected to what no policy allows, and every edge that is allowed was used."""
    platform.asked("risk", "kill-switch", "set", "reducing", "--reason", "risk tells trading")
    platform.asked("risk", "kill-switch", "set", "active", "--reason", "risk tells trading")
    # Commands are always recorded, also those that are refused: so ops has a span to send.
    assert platform.tried("dlq", "discard", str(uuid4())).returncode != 0
    here = platform.here
    expected = program_edges(platform.manifests)
    rare = {Edge(f"{here}/{source}", f"{here}/{target}", API) for source, target in RARELY_OPENED}
    until(60, lambda: expected - rare <= platform.seen, lambda: sorted(map(str, expected - platform.seen)))
    commands = {edge for edge in platform.seen if edge.source == f"{here}/cli"}
    assert sorted(map(str, platform.seen - commands - expected)) == []
    assert {edge.port for edge in commands} == {API}


def test_services_that_are_told_to_end_end_within_their_grace(platform: PlatformOfPods) -> None:
    """All at once: every process hears SIGTERM, so Kubernetes needn't kill it after its template's grace period."""
    templates = {name: pod_template(one)["spec"] for name, one in services(platform.manifests).items()}
    with ThreadPoolExecutor(len(templates)) as at_once:
        seconds = dict(at_once.map(lambda name: (name, platform.pods.end(name)), templates))
    for name, spec in templates.items():
        (ended,) = platform.pods.containers(name)
        assert ended["State"]["ExitCode"] == 0, platform.pods.logs(name)
        assert seconds[name] < spec["terminationGracePeriodSeconds"], name


def test_a_pod_with_a_setting_that_does_not_exist_says_so_and_does_not_start(
    platform: PlatformOfPods,
) -> None:
    """Planted in the ConfigMap: the service's only line names the setting and the one that may be meant."""
    (name,) = (one for one in of_kind(platform.manifests, "ConfigMap") if one.startswith("settings"))
    spoilt = of_kind(platform.manifests, "ConfigMap")[name]["data"] | {
        "ALPHAPANDA_KAFKA__BOOTSTRAP": "kafka:9092"
    }
    done = platform.pods.command("serve", "risk", environment=spoilt)
    assert done.returncode != 0
    assert "unknown setting ALPHAPANDA_KAFKA__BOOTSTRAP; did you mean" in done.stderr
