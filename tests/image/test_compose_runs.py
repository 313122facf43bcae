"""deploy/compose started whole, but for Grafana: every container with the settings, volumes, commands and checks of the file."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import pytest
from compose_project import ComposeProject, missing_for_compose

pytestmark = pytest.mark.timeout(1200)  # sixteen containers on a machine that may be busy

SECONDS = 300.0
SERVICES = ("auth", "instruments", "portfolio", "trading", "risk", "strategy", "marketdata", "ops")


@pytest.fixture(scope="module")
def project(require_or_skip: Callable[[str], NoReturn]) -> Iterator[ComposeProject]:
    """The project, started in the order that `depends_on` asks for."""
    image = os.environ.get("TEST_IMAGE", "")
    if not image:
        require_or_skip("NO IMAGE: `make image`, then `make image-check`")
    if missing := missing_for_compose():
        require_or_skip(missing)
    folder = Path(tempfile.mkdtemp(prefix="panda-compose-", dir="/tmp"))
    project = ComposeProject(folder, image)
    try:
        project.start("prepare")
        project.finish("prepare", SECONDS)
        project.start("kafka", "postgres", "redis", "jaeger", "prometheus")
        for store in ("postgres", "kafka"):
            project.healthy(store, SECONDS)
        project.start("migrate", "topics")
        for service in ("migrate", "topics"):
            project.finish(service, SECONDS)
        project.start(*SERVICES)
        for service in SERVICES:
            project.healthy(service, SECONDS)
        yield project
    finally:
        project.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _answer(port: int, path: str, **parameters: str) -> Any:
    url = f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def _eventually(said: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := said()):
        assert time.monotonic() < deadline
        time.sleep(1)
    return found


def test_a_trader_signs_in_trades_and_finds_the_order_s_trace(project: ComposeProject) -> None:
    """By the commands of the page: an order is filled, its position is in the books, its spans are in Jaeger."""
    cat = ("--profile", "cli", "run", "--rm", "-T", "--entrypoint", "cat", "cli")
    assert len(project.compose(*cat, "/prepared/admin-password").strip()) > 40

    project.command("login", "--user", "admin", "--password-file", "/prepared/admin-password")

    def filled() -> dict[str, Any] | None:
        asked = ("orders", "place", "buy", "NSE:INFY", "10", "--request-id", uuid4().hex)
        wanted = project.asked(*asked)["order"]["state"]["orderId"]
        time.sleep(3)
        states = {one["state"]["orderId"]: one["state"] for one in project.asked("orders")["orders"]}
        state: dict[str, Any] = states[wanted]
        return state if state["status"] == "ORDER_STATUS_FILLED" else None

    order = _eventually(filled)
    assert order["orderId"] in project.command("trace", order["orderId"])
    held = _eventually(lambda: project.asked("positions").get("positions"))
    assert sum(int(one.get("quantity", 0)) for one in held if one["symbol"] == "NSE:INFY") >= 10
    tags = json.dumps({"alphapanda.order_id": order["orderId"]})

    def spans() -> Any:
        return _answer(project.jaeger_port, "/api/traces", service="trading", tags=tags, limit="5")["data"]

    assert _eventually(spans)


def test_prometheus_has_every_service_and_the_alerts(project: ComposeProject) -> None:
    """Each service answers where Prometheus looks, and the rules are read."""

    def up() -> Any:
        found = _answer(project.prometheus_port, "/api/v1/query", query="up == 1")["data"]["result"]
        return {one["metric"]["instance"] for one in found} == {f"{name}:9464" for name in SERVICES}

    assert _eventually(up)
    assert _answer(project.prometheus_port, "/api/v1/rules")["data"]["groups"]


def test_containers_of_ours_are_confined_as_the_file_says(project: ComposeProject) -> None:
    """Each runs as user 10001 without a capability, on a root that nobody can write, in 512 MB."""
    for service in SERVICES:
        seen = project.inspected(service)
        assert seen["State"]["Running"], project.logs(service)
        assert seen["HostConfig"]["ReadonlyRootfs"]
        assert seen["HostConfig"]["Memory"] == 512 * 2**20
        assert seen["Config"]["User"] == "10001:10001"
        assert not seen["EffectiveCaps"]


def test_a_second_start_goes_on_with_what_is_there(project: ComposeProject) -> None:
    """`prepare` makes no second password, and the session of before still trades."""
    project.start("prepare")
    project.finish("prepare", SECONDS)
    assert project.asked("positions")["positions"]
