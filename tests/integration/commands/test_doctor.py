"""`alphapanda doctor`: what a start needs, named one by one, and nothing changed."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner
from kafka_server import free_ports

from alphapanda.app.doctor import disk_finding, place_findings
from alphapanda.app.doctor_mesh import _skew
from alphapanda.app.findings import Outcome
from alphapanda.cli import main
from alphapanda.embedded.directory import DataDirectory
from alphapanda.settings.serving import ApiSettings
from alphapanda.storage.audit import AuditFilter, PostgresAudit
from alphapanda.storage.engine import open_engine

Doctor = Callable[..., tuple[int, dict[str, dict[str, str]]]]
NOW = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _as_before():
    """Puts the process's logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def doctor(tmp_path, monkeypatch) -> Doctor:
    """Runs it with an environment in a folder of its own; its exit code and findings by name."""

    def run(*arguments: str, **environment: str):
        monkeypatch.chdir(tmp_path)
        for name, value in environment.items():
            monkeypatch.setenv(f"ALPHAPANDA_{name}", value)
        arguments = ("doctor", "--json", "--data-dir", str(tmp_path / "data"), *arguments)
        result = CliRunner().invoke(main, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result.exit_code, {finding["name"]: finding for finding in json.loads(result.stdout)}

    return run


def test_a_machine_that_is_ready(doctor, tmp_path) -> None:
    """Every check is ok or a warning, each with what was seen, and nothing lies there that did not before."""
    code, findings = doctor(API__PORT="0")
    assert code == 0
    assert list(findings) == [
        "python",
        "settings",
        "calendar",
        "tls",
        "auth",
        "data directory",
        "port",
        "event log",
        "disk space",
        "PostgreSQL",
        "Redis",
    ]
    assert all(finding["reason"] and finding["outcome"] != "fail" for finding in findings.values())
    assert findings["PostgreSQL"]["reason"].startswith("postgres (PostgreSQL)")
    assert list(tmp_path.iterdir()) == []


def test_everything_wrong_is_found_at_once(doctor, tmp_path) -> None:
    """A port in use and somebody else's folder fail, each with what to do; the exit code is 1."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, findings = doctor(API__PORT=str(taken.getsockname()[1]))
    assert code == 1
    failed = {name: finding for name, finding in findings.items() if finding["outcome"] == "fail"}
    assert list(failed) == ["data directory", "port"]
    assert "holds files that Alpha Panda didn't make" in failed["data directory"]["reason"]
    assert "Address already in use" in failed["port"]["reason"]
    assert all(finding["remedy"] for finding in failed.values())


def test_wrong_settings_are_each_told(tmp_path, monkeypatch) -> None:
    """Each wrong setting is a finding of its own; what doesn't depend on settings is looked at all the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHAPANDA_API__PORT", "x")
    monkeypatch.setenv("ALPHAPANDA_DATABASE__URL", "mysql://root:hunter2@db/x")  # pragma: allowlist secret
    result = CliRunner().invoke(main, ["doctor", "--json", "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [one["outcome"] for one in found if one["name"] == "settings"] == ["fail", "fail"]
    assert "hunter2" not in result.output
    assert {one["name"] for one in found} == {
        "python",
        "settings",
        "calendar",
        "disk space",
        "PostgreSQL",
        "Redis",
    }


class TestThePlace:
    """Data directory and port."""

    def test_a_platform_that_runs_is_named(self, tmp_path) -> None:
        """A data directory that is held names the process; that the holder answers on the port is no failure."""
        held = DataDirectory(tmp_path / "data")
        held.acquire(NOW, 50051)
        try:
            directory, port = place_findings(tmp_path / "data", ApiSettings(port=50051))
        finally:
            held.release()
        assert directory.outcome is Outcome.WARN
        assert f"held by process {os.getpid()}" in directory.reason
        assert (port.outcome, str(os.getpid()) in port.reason) == (Outcome.OK, True)

    def test_after_it_ended_the_directory_is_free(self, tmp_path) -> None:
        """A lock that nobody holds is none, and looking at it takes it from nobody."""
        held = DataDirectory(tmp_path / "data")
        held.acquire(NOW)
        held.release()
        directory, _ = place_findings(tmp_path / "data", ApiSettings(port=0))
        assert directory.outcome is Outcome.OK
        held.acquire(NOW)
        held.release()

    @pytest.mark.parametrize("below", ["data", "data/deeper"])
    def test_a_folder_below_a_file_is_refused(self, tmp_path, below) -> None:
        """What can't be made can't be written."""
        (tmp_path / "file").touch()
        directory, _ = place_findings(tmp_path / "file" / below, ApiSettings(port=0))
        assert directory.outcome is Outcome.FAIL
        assert "Not a directory" in directory.reason


@pytest.mark.parametrize(
    ("free", "outcome"), [(10**8, Outcome.FAIL), (10**9, Outcome.WARN), (10**11, Outcome.OK)]
)
def test_disk_space(tmp_path, monkeypatch, free, outcome) -> None:
    """A full disk fails, one that will be full soon is a warning."""

    class Usage:
        def __init__(self) -> None:
            self.free = free

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage())
    assert disk_finding(tmp_path / "not" / "there").outcome is outcome


@pytest.mark.parametrize(("seconds", "outcome"), [(-30, "fail"), (-0.5, "ok"), (0.5, "ok"), (30, "fail")])
def test_a_clock_that_is_off(seconds, outcome) -> None:
    """A clock more than a second away fails, whichever way."""
    told = NOW + timedelta(seconds=seconds)
    assert _skew("Redis", NOW, told, NOW).outcome == outcome


async def commands_in_audit(url: str) -> list[tuple[str, object]]:
    engine = open_engine(url, 1)
    try:
        found = await PostgresAudit(engine).page(AuditFilter(), None, 10)
    finally:
        await engine.dispose()
    return [(one.method, one.outcome and one.outcome.before) for one in found]


def test_the_mesh(doctor, database: str, redis_url: str, kafka: str) -> None:
    """Kafka, topics, database, schema, Redis, clocks and services: first what is missing, then what is there."""
    (port,) = free_ports(1)
    mesh = {
        "DATABASE__URL": database,
        "REDIS__URL": redis_url,
        "KAFKA__BOOTSTRAP_SERVERS": kafka,
        "API__PORT": str(port),
        **{
            f"MESH__{name}": f"127.0.0.1:{port}"
            for name in ("INSTRUMENTS", "MARKETDATA", "STRATEGY", "RISK", "TRADING", "PORTFOLIO")
        },
    }
    code, findings = doctor("--mesh", **mesh)
    assert code == 1
    failed = {name: finding["remedy"] for name, finding in findings.items() if finding["outcome"] == "fail"}
    assert failed == {"topics": "run `alphapanda topics ensure`", "schema": "run `alphapanda db upgrade`"}
    assert findings["risk"]["outcome"] == "warn"
    assert findings["risk"]["remedy"] == "start it: `alphapanda serve risk`"

    for command in (["topics", "ensure"], ["db", "upgrade"]):
        assert CliRunner().invoke(main, command).exit_code == 0
    assert asyncio.run(commands_in_audit(database)) == [("alphapanda db upgrade", {"schema": ""})]
    code, findings = doctor("--mesh")
    assert code == 0, findings
    assert {name for name, finding in findings.items() if finding["outcome"] == "ok"} >= {
        "kafka",
        "topics",
        "database",
        "schema",
        "database and kafka",
        "redis",
        "clock against PostgreSQL",
        "clock against Redis",
    }


def test_a_mesh_that_is_away(doctor) -> None:
    """What doesn't answer fails under its name, with where it was looked for; no traceback, no password."""
    code, findings = doctor(
        "--mesh",
        DATABASE__URL="postgresql+asyncpg://u:hunter2@127.0.0.1:1/none",  # pragma: allowlist secret
        REDIS__URL="redis://:hunter2@127.0.0.1:1",
        KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1",
    )
    assert code == 1
    assert {name for name, finding in findings.items() if finding["outcome"] == "fail"} == {
        "kafka",
        "database",
        "redis",
    }
    assert "127.0.0.1:1" in findings["kafka"]["remedy"]
    assert "hunter2" not in str(findings)


def test_the_table_names_every_check(tmp_path, monkeypatch) -> None:
    """For people it is a table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHAPANDA_API__PORT", "0")
    result = CliRunner().invoke(main, ["doctor", "--data-dir", str(Path("data"))])
    assert result.exit_code == 0
    assert "disk space" in result.stdout
