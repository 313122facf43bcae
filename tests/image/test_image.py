"""The image as it is shipped: what is in it, and every service started from it, read-only and without privileges."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import pytest
from from_image import CONFINED, MeshFromImage
from kafka_server import missing_for_kafka

pytestmark = pytest.mark.timeout(900)  # eight containers on a machine that may be busy

UP_SECONDS = 300.0
BIGGEST_BYTES = 250 * 10**6
SERVICES = {"instruments", "portfolio", "trading", "risk", "strategy", "marketdata", "ops", "auth"}
LOOK = """
import importlib.util, os, pathlib, shutil, sys
found = [name for name in ("pip", "setuptools", "twisted", "kiteconnect", "pyarrow") if importlib.util.find_spec(name)]
found += [name for name in ("pip", "pip3", "gcc", "cc", "make", "uv") if shutil.which(name)]
try:
    pathlib.Path("/opt/alphapanda/x").write_text("")
    found.append("a root that can be written")
except OSError:
    pass
print(os.getuid(), os.getgid(), found)
"""
SIZE = """
import os
seen = {}
for folder, _, names in os.walk("/opt/alphapanda"):
    for name in names:
        at = os.lstat(os.path.join(folder, name))
        seen[at.st_ino] = at.st_size
print(sum(seen.values()))
"""


@pytest.fixture(scope="module")
def mesh(require_or_skip: Callable[[str], NoReturn]) -> Iterator[MeshFromImage]:
    """Every service a container of the image, beside real Kafka, PostgreSQL and Redis."""
    image = os.environ.get("TEST_IMAGE", "")
    if not image or shutil.which("podman") is None:
        require_or_skip(
            "NO IMAGE: `make image`, then `make image-check`, which needs podman (apt-get install podman runc)"
        )
    if missing := missing_for_kafka():
        require_or_skip(missing)
    folder = Path(tempfile.mkdtemp(prefix="panda-image-", dir="/tmp"))
    folder.chmod(0o755)
    mesh = MeshFromImage(folder / "m", image)
    with asyncio.Runner() as runner:
        try:
            runner.run(mesh.start())
            yield mesh
        finally:
            runner.run(mesh.stop())
            shutil.rmtree(folder, ignore_errors=True)


def _python(mesh: MeshFromImage, program: str) -> str:
    done = mesh.podman("run", "--rm", *CONFINED, "--entrypoint", "python", mesh.image, "-c", program)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_service_serves_and_an_order_is_filled(mesh: MeshFromImage) -> None:
    """Asked by the image's own commands, with certificate and token: all serve, and a paper order ends in the books."""
    deadline = time.monotonic() + UP_SECONDS
    states: dict[str, str] = {}
    while set(states.values()) != {"SERVICE_STATE_SERVING"} or len(states) < len(SERVICES) - 1:
        said = (
            {name: mesh.logs(name)[-2000:] for name in mesh.containers} if time.monotonic() > deadline else {}
        )
        assert time.monotonic() < deadline, f"{states}\n{said}"
        try:
            states = {one["service"]: one["state"] for one in mesh.asked("status")["services"]}
        except AssertionError:
            time.sleep(2)
    assert set(mesh.containers) == SERVICES
    filled = False
    while not filled:
        assert time.monotonic() < deadline, mesh.asked("orders")
        placed = mesh.asked("orders", "place", "buy", "NSE:INFY", "10", "--request-id", uuid4().hex)
        wanted = placed["order"]["state"]["orderId"]
        time.sleep(3)
        states = {one["state"]["orderId"]: one["state"]["status"] for one in mesh.asked("orders")["orders"]}
        filled = states.get(wanted) == "ORDER_STATUS_FILLED"
    held = 0
    while held < 10:
        assert time.monotonic() < deadline, mesh.asked("positions")
        positions = mesh.asked("positions").get("positions", ())
        held = sum(int(one.get("quantity", 0)) for one in positions if one["symbol"] == "NSE:INFY")


def test_services_run_without_any_privilege(mesh: MeshFromImage) -> None:
    """As user 10001, without a capability, on a root that nobody can write."""
    for service in mesh.containers:
        seen = mesh.inspected(service)
        assert seen["State"]["Running"], mesh.logs(service)
        assert seen["HostConfig"]["ReadonlyRootfs"]
        assert seen["Config"]["User"] == "10001:10001"
        assert not seen["EffectiveCaps"]


def test_the_image_holds_what_runs_and_nothing_else(mesh: MeshFromImage) -> None:
    """No pip, no compiler, nothing of Zerodha's extra or the embedded one; in the size that its page states."""
    assert _python(mesh, LOOK) == "10001 10001 []"
    assert int(_python(mesh, SIZE)) < BIGGEST_BYTES


def test_a_service_that_is_told_to_end_ends_at_once(mesh: MeshFromImage) -> None:
    """As the first process of its container it hears SIGTERM: Kubernetes needn't kill it."""
    began = time.monotonic()
    assert mesh.podman("stop", "--time", "60", mesh.containers["ops"]).returncode == 0
    assert mesh.inspected("ops")["State"]["ExitCode"] == 0, mesh.logs("ops")
    assert time.monotonic() - began < 60
