"""What a command loads. Counted in modules, not in seconds: those depend on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from fake_services import FakeServices

SERVER_LIBRARIES = frozenset(
    {
        "aiokafka",
        "alembic",
        "asyncpg",
        "numpy",
        "opentelemetry",
        "prometheus_client",
        "protovalidate",
        "pyarrow",
        "redis",
        "sqlalchemy",
        "structlog",
    }
)
SERVER_PARTS = (
    "app",
    "consuming.consumer",
    "eventlog.kafka.log",
    "eventlog.sqlite",
    "storage",
    "mesh.server",
)

EVERY_HELP = """
import json, sys
import click
from click.testing import CliRunner
from alphapanda.cli import main

def leaves(command, path):
    context = click.Context(command)
    if not isinstance(command, click.Group):
        yield path
        return
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*path, name))

found = {}
for path in leaves(main, ()):
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0, result.output
    found[" ".join(path)] = sorted(sys.modules)
print(json.dumps(found))
"""

CALL = """
import atexit, json, sys
from alphapanda.cli import main
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
main()
"""


def of_a_server(modules: list[str]) -> list[str]:
    """Those that only a server needs."""
    parts = tuple(f"alphapanda.{part}" for part in SERVER_PARTS)
    return [
        name
        for name in modules
        if name.partition(".")[0] in SERVER_LIBRARIES
        or any(name == part or name.startswith(f"{part}.") for part in parts)
    ]


def ran(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, as a person starts one."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=os.environ | environment,
    )


def test_no_help_loads_a_server() -> None:
    """Every command's `--help`, one after the other in one process, loads nothing that only a server needs."""
    found = json.loads(ran(EVERY_HELP).stdout)
    assert found.keys() >= {"orders list", "up", "topics ensure"}
    assert {command: of_a_server(modules) for command, modules in found.items() if of_a_server(modules)} == {}


@pytest.fixture
def fake() -> FakeServices:
    """Servers that are stopped at the end."""
    made = FakeServices()
    yield made
    made.stop_all()


@pytest.mark.parametrize(
    ("arguments", "shown"), [(("strategies", "list"), "found"), (("status",), "serving")], ids=" ".join
)
def test_a_clients_call_loads_no_server(fake: FakeServices, arguments, shown) -> None:
    """A command that asks a platform loads gRPC, protobuf and what draws its table, and nothing of a server."""
    target = fake.start("strategy", "ops")
    result = ran(CALL, *arguments, "--target", target)
    assert "pydantic" not in (modules := json.loads(result.stderr)), "settings are read where they are needed"
    assert shown in result.stdout
    assert "grpc" in modules
    assert of_a_server(modules) == []


def test_a_call_that_reads_settings_loads_no_server(fake: FakeServices) -> None:
    """Where the settings say whom to ask, they are read, and the parts they are for stay unloaded."""
    host, port = fake.start("strategy", "ops").split(":")
    result = ran(CALL, "strategies", ALPHAPANDA_API__HOST=host, ALPHAPANDA_API__PORT=port)
    assert "found" in result.stdout
    assert of_a_server(json.loads(result.stderr)) == []


def test_a_servers_library_would_be_seen() -> None:
    """The search finds a library and a part of ours that only a server loads."""
    modules = ["alphapanda.domain.order", "alphapanda.app.serve", "sqlalchemy.orm", "alphapanda.apparel"]
    assert of_a_server(modules) == ["alphapanda.app.serve", "sqlalchemy.orm"]
