"""`alphapanda serve marketdata --record FOLDER` on real Kafka, and what `alphapanda replay` reads of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import fork_server
import pytest
from kafka_server import free_ports
from running import ALPHAPANDA, until


@pytest.fixture
def mesh(kafka: str, tables: str, redis_url: str) -> dict[str, str]:
    """The environment of a process of the mesh, its topics there."""
    environment = {
        **os.environ,
        "ALPHAPANDA_DATABASE__URL": tables,
        "ALPHAPANDA_REDIS__URL": redis_url,
        "ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS": kafka,
    }
    fork_server.run([ALPHAPANDA[0], "topics", "ensure"], env=environment).check_returncode()
    return environment


def serve(mesh: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    (port,) = free_ports(1)
    return subprocess.Popen(
        [ALPHAPANDA[0], "serve", *arguments, "--port", str(port)],
        env=mesh,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_mesh_records_its_feed(mesh: dict[str, str], tmp_path: Path) -> None:
    """While it runs the day's file is being made; when the process has ended it is whole and can be replayed."""
    with serve(mesh, "instruments", "marketdata", "--record", str(tmp_path)) as process:
        until(lambda: any(part.stat().st_size > 20_000 for part in tmp_path.glob("*.part")), 60, "frames")
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    (recorded,) = [json.loads(line) for line in said.splitlines() if '"recording.completed"' in line]
    (file,) = tmp_path.glob("*.parquet")
    assert recorded["file"] == str(file)
    replayed = fork_server.run([ALPHAPANDA[0], "replay", str(file), "--strategy", "ema_cross", "--json"])
    replayed.check_returncode()
    assert 0 < json.loads(replayed.stdout)["ticks"] <= recorded["rows"]


def test_only_marketdata_records(mesh: dict[str, str], tmp_path: Path) -> None:
    """A process without the feed is refused, in one line."""
    with serve(mesh, "risk", "--record", str(tmp_path)) as process:
        _, complaint = process.communicate(timeout=60)
    assert process.returncode != 0
    assert complaint.startswith("alphapanda: --record: ")
    assert complaint.rstrip().endswith("marketdata among the services, whose feed is recorded")
