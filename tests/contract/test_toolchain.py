"""The resources the tests stand on, and the checks that keep the contract and the repository."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import kafka_server
import psutil
import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from tests import workers


async def test_the_database_is_a_real_postgresql(database: str) -> None:
    """Each test gets an empty PostgreSQL database of its own, reachable by SQLAlchemy's asyncpg dialect."""
    engine = create_async_engine(database)
    try:
        async with engine.connect() as connection:
            name, tables = (
                await connection.execute(
                    text(
                        "SELECT current_database(), "
                        "(SELECT count(*) FROM pg_tables WHERE schemaname = 'public')"
                    )
                )
            ).one()
    finally:
        await engine.dispose()
    assert name in database
    assert tables == 0


async def test_redis_is_real_and_empty(redis_url: str) -> None:
    """Each test gets a Redis without keys."""
    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("left", "behind")


async def test_redis_is_empty_again(redis_url: str) -> None:
    """What one test left in Redis is gone for the next."""
    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0


class TestWhatIsMissing:
    """The fixtures in a checkout that has neither grpcurl nor Kafka nor recordings."""

    def run(self, folder: Path, repo_root: Path, **environment: str) -> str:
        """One test that asks for each, run with `environment`; pytest's summary of it."""
        tests = folder / "checkout" / "tests"
        tests.mkdir(parents=True)
        shutil.copy(repo_root / "tests" / "conftest.py", tests)
        tool = shutil.copytree(repo_root / "tools" / "kafka", folder / "checkout" / "tools" / "kafka")
        (tests / "test_tools.py").write_text(
            "def test_a(grpcurl): ...\ndef test_b(nse_data): ...\ndef test_c(kafka): ...\n"
        )
        inherited = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith("PYTEST_")}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            os.devnull,
            "-o",
            f"pythonpath={tool}",
            "--rootdir",
            str(tests),
            "-rsfE",
            str(tests),
        ]
        finished = subprocess.run(
            command, env=inherited | environment, capture_output=True, text=True, check=False
        )
        return finished.stdout

    def test_on_a_desk_it_is_skipped_with_a_reason(self, tmp_path: Path, repo_root: Path) -> None:
        """Who has no Go, no Java and no recordings runs the other tests, and is told."""
        summary = self.run(tmp_path, repo_root)
        assert "3 skipped" in summary
        assert "NO GRPCURL" in summary
        assert "NO KAFKA" in summary
        assert "NO NSE RECORDINGS" in summary

    def test_under_ci_a_missing_tool_is_a_failure(self, tmp_path: Path, repo_root: Path) -> None:
        """CI=true never goes green on a test that was not tried for want of a tool."""
        summary = self.run(tmp_path, repo_root, CI="true")
        assert "under CI=true nothing may be missing: NO GRPCURL" in summary
        assert "under CI=true nothing may be missing: NO KAFKA" in summary
        assert "1 skipped, 2 errors" in summary

    def test_recordings_named_in_vain_are_a_failure(self, tmp_path: Path, repo_root: Path) -> None:
        """A folder that was named is used or complained about, never passed over."""
        summary = self.run(tmp_path, repo_root, ALPHAPANDA_TEST_NSE_DATA=str(tmp_path / "nowhere"))
        assert "nowhere is not a folder" in summary
        assert "2 skipped, 1 error" in summary

    def test_recordings_beside_the_checkout_are_used(self, tmp_path: Path, repo_root: Path) -> None:
        """Recordings that lie beside the checkout need no setting."""
        (tmp_path / "shared" / "data" / "nse").mkdir(parents=True)
        assert "1 passed, 2 skipped" in self.run(tmp_path, repo_root)


DIES = """
import json, os, pathlib, subprocess

def test_dies(redis_server, tmp_path):
    left = subprocess.Popen(["sleep", "600"]).pid
    pathlib.Path(os.environ["TOLD"]).write_text(json.dumps([left, os.environ["TMPDIR"]]))
    os.kill(os.getpid(), 9)
"""


class TestWorkers:
    """Tests side by side."""

    def test_a_killed_worker_leaves_nothing(self, tmp_path: Path, repo_root: Path) -> None:
        """Servers and other processes that it started are ended and named, its files are gone, and its test has failed."""
        tests = tmp_path / "tests"
        tests.mkdir()
        shutil.copy(repo_root / "tests" / "conftest.py", tests)
        (tests / "test_dies.py").write_text(DIES)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            os.devnull,
            "-n",
            "1",
            "--rootdir",
            str(tests),
            str(tests),
        ]
        finished = subprocess.run(
            [*command, "-o", f"pythonpath={repo_root / 'tools' / 'kafka'}"],
            env=inherited | {"TOLD": str(tmp_path / "told")},
            cwd=repo_root,
            capture_output=True,
            text=True,
            check=False,
        )
        left, folder = json.loads((tmp_path / "told").read_text())
        assert "= 1 failed in" in finished.stdout
        assert re.search(r"gw0: sleep 600\n", finished.stdout)
        assert re.search(r"gw0: .*redis", finished.stdout)
        assert not psutil.pid_exists(left)
        assert not Path(folder).exists()
        assert not [one for one in psutil.process_iter(["environ"]) if folder in str(one.info["environ"])]

    def test_what_files_share_ends_with_the_last_test_of_their_unit(self) -> None:
        """A mesh doesn't go on beside the units that come after its own, also where that test's teardown fails."""
        first, second, other = (
            SimpleNamespace(nodeid=f"tests/{path}::test")
            for path in ("chaos/test_leaving.py", "chaos/test_members.py", "chaos/test_restored.py")
        )
        ended: list[str] = []

        def torn_down(
            item: SimpleNamespace, following: SimpleNamespace | None
        ) -> Generator[None, None, None]:
            hook = workers.Worker().pytest_runtest_teardown(item, following)  # type: ignore[arg-type]
            next(hook)
            return hook

        workers.end_with_the_unit(lambda: ended.append("mesh"))
        assert next(torn_down(first, second), None) is None
        assert ended == []
        with pytest.raises(KeyError):
            torn_down(second, other).throw(KeyError())
        assert ended == ["mesh"]
        assert next(torn_down(other, None), None) is None
        assert ended == ["mesh"]

    def test_a_port_is_given_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who was given a port and doesn't listen yet keeps it: a mesh's service found its own taken by the mesh's Kafka."""
        monkeypatch.setattr(kafka_server, "_given", set())
        given = [port for _ in range(50) for port in kafka_server.free_ports(7)]
        assert len(given) == len(set(given))

    def test_files_that_share_a_server_are_there(self, repo_root: Path) -> None:
        """A file that is moved or renamed stays with those it shares a server with."""
        named = [*workers.TOGETHER, *workers.APART]
        assert [path for path in named if not (repo_root / "tests" / path).is_file()] == []
        assert len(named) == len(set(named))


def test_grpcurl_runs(grpcurl: Path) -> None:
    """The grpcurl that the tests use is the one that `make grpcurl` built, and it runs."""
    subprocess.run([str(grpcurl), "-help"], check=True, capture_output=True)


class TestTheContract:
    """`make proto-breaking` and `make accept-contract` on a copy of the protos."""

    @pytest.fixture
    def checkout(self, tmp_path: Path, repo_root: Path) -> Path:
        """What those targets read, in a folder where a test may break it."""
        for folder in ("protos", "tools"):
            shutil.copytree(repo_root / folder, tmp_path / folder)
        for file in ("Makefile", "buf.yaml"):
            shutil.copy(repo_root / file, tmp_path / file)
        return tmp_path

    def make(self, checkout: Path, repo_root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs make in the copy with this checkout's virtualenv."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "WHY"))}
        command = ["make", "-o", "setup", f"VENV={repo_root / '.venv'}", *arguments]
        return subprocess.run(
            command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )

    def test_the_protos_keep_the_accepted_contract(self, checkout: Path, repo_root: Path) -> None:
        """The protos as they are break nothing that was accepted."""
        finished = self.make(checkout, repo_root, "proto-breaking")
        assert finished.returncode == 0, finished.stdout + finished.stderr

    def test_a_planted_break_is_found(self, checkout: Path, repo_root: Path) -> None:
        """A field that changes its type is named, with its file and line, and fails the check."""
        events = checkout / "protos" / "panda" / "events" / "v1" / "events.proto"
        text = events.read_text(encoding="utf-8")
        broken = text.replace("string source = ", "bytes source = ")
        assert broken != text
        events.write_text(broken, encoding="utf-8")

        finished = self.make(checkout, repo_root, "proto-breaking")

        assert finished.returncode != 0
        assert re.search(
            r'panda/events/v1/events\.proto:\d+:\d+:Field "\d+" with name "source"', finished.stdout
        )

    def test_a_break_is_accepted_only_with_a_reason(self, checkout: Path, repo_root: Path) -> None:
        """Without WHY nothing changes; with it the image is today's and the changelog says why."""
        baseline = checkout / "protos" / "baseline.binpb"
        changelog = checkout / "protos" / "CHANGELOG.md"
        before = (baseline.read_bytes(), changelog.read_text(encoding="utf-8"))
        events = checkout / "protos" / "panda" / "events" / "v1" / "events.proto"
        text = events.read_text(encoding="utf-8")
        events.write_text(text.replace("string source = ", "bytes source = "), encoding="utf-8")

        refused = self.make(checkout, repo_root, "accept-contract", "WHY=  ")
        assert refused.returncode != 0
        assert 'WHY="..."' in refused.stderr
        assert (baseline.read_bytes(), changelog.read_text(encoding="utf-8")) == before

        accepted = self.make(checkout, repo_root, "accept-contract", "WHY=the source is bytes")
        assert accepted.returncode == 0, accepted.stderr
        assert changelog.read_text(encoding="utf-8").startswith(before[1])
        assert changelog.read_text(encoding="utf-8").endswith(": the source is bytes\n")
        assert self.make(checkout, repo_root, "proto-breaking").returncode == 0


def test_generated_code_is_what_the_protos_make(repo_root: Path, tmp_path: Path) -> None:
    """Generating again gives gen/python byte for byte."""
    command = [sys.executable, str(repo_root / "tools" / "generate.py"), "--out", str(tmp_path)]
    subprocess.run(command, check=True)
    assert _contents(tmp_path) == _contents(repo_root / "gen" / "python")


def test_a_kite_secret_is_found(repo_root: Path, tmp_path: Path) -> None:
    """The secrets scan knows a Kite credential, in an environment file as in code."""
    value = "".join(sorted(uuid4().hex))
    for line in (f"ALPHAPANDA_ZERODHA__API_SECRET={value}", f'access_token = "{value}"'):
        planted = tmp_path / "planted.txt"
        planted.write_text(line + "\n", encoding="utf-8")
        command = [
            str(Path(sys.executable).parent / "detect-secrets-hook"),
            "--no-verify",
            "--plugin",
            str(repo_root / "tools" / "kite_secrets.py"),
            str(planted),
        ]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        assert finished.returncode == 1
        assert "Kite Connect credential" in finished.stdout


def test_every_pin_is_locked(repo_root: Path) -> None:
    """What pyproject.toml declares is what requirements/ locks, version for version."""
    project = tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = {
        "runtime.txt": project["dependencies"],
        "embedded.txt": [*project["dependencies"], *extras["embedded"]],
        "zerodha.txt": [*project["dependencies"], *extras["zerodha"]],
        "dev.txt": [*project["dependencies"], *itertools.chain(*extras.values())],
    }
    for file, pins in wanted.items():
        lock = (repo_root / "requirements" / file).read_text(encoding="utf-8")
        locked = set(re.findall(r"^([a-z0-9._-]+==[^ ;]+)", lock, flags=re.MULTILINE))
        assert {re.sub(r"\[.*\]", "", pin) for pin in pins} <= locked, file
        assert "://" not in lock, f"{file} names a registry"


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
