"""No secret leaves the process: one is planted wherever there may be one, and everything that comes out is searched."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from click.testing import CliRunner
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from kafka_server import free_ports
from running import ALPHAPANDA, Platform, servers_of, until
from typing_extensions import override

from alphapanda.cli import main
from alphapanda.contract.catalogue import service_descriptors
from alphapanda.settings.catalogue import catalogue
from alphapanda.telemetry.redaction import is_secret
from panda.ops.v1.ops_pb2 import ListAuditEntriesRequest
from panda.risk.v1.risk_pb2 import SetKillSwitchRequest
from panda.trading.v1.trading_pb2 import SquareOffRequest

CANARY = "kanary7"
"""Begins every secret that is planted."""

SEEN = "visible7"
"""Stands where it may be seen, so that the search is known to find something."""


class Collector(grpc.GenericRpcHandler):
    """Takes whatever is exported, by any method, as bytes."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    @override
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        def take(request: bytes, _context: grpc.ServicerContext) -> bytes:
            self.taken.append(request)
            return b""

        return grpc.unary_unary_rpc_method_handler(take)


@pytest.fixture
def exported() -> Iterator[tuple[Collector, str]]:
    """A collector of figures and traces, and its address."""
    server, taking = grpc.server(ThreadPoolExecutor(2)), Collector()
    server.add_generic_rpc_handlers((taking,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield taking, f"http://127.0.0.1:{port}"
    server.stop(None)


def planted(folder: Path) -> dict[str, str]:
    """The settings of every secret, half of them in files."""
    forms = {
        "database.url": f"postgresql+asyncpg://panda:{CANARY}-database@127.0.0.1:1/panda",  # pragma: allowlist secret
        "redis.url": f"redis://:{CANARY}-redis@127.0.0.1:1",
    }
    settings = {
        "ALPHAPANDA_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "ALPHAPANDA_KAFKA__SASL_USERNAME": "u",
    }
    for number, setting in enumerate(one for one in catalogue() if one.secret):
        value = forms.get(setting.name, f"{CANARY}-{setting.name}-{'x' * 40}")
        if number % 2:
            settings[setting.variable] = value
            continue
        (folder / setting.name).write_text(value)
        settings[f"{setting.variable}_FILE"] = str(folder / setting.name)
    return settings


def with_secrets() -> Iterator[tuple[str, Message]]:
    """Each RPC whose request has a field for a secret, with one in it."""
    for service in service_descriptors():
        for method in service.methods:
            request = message_factory.GetMessageClass(method.input_type)()
            fields = [
                field.name
                for field in method.input_type.fields
                if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
                if is_secret(field.name) or field.GetOptions().debug_redact
            ]
            for field in fields:
                setattr(request, field, f"{CANARY}-{field}-Aa1!")
            if fields and not method.server_streaming:
                for name in ("request_id", "username", "user", "name"):
                    if name in method.input_type.fields_by_name:
                        setattr(request, name, "canary")
                yield f"/{service.full_name}/{method.name}", request


def call(channel: grpc.Channel, path: str, request: Message, metadata: tuple[tuple[str, str], ...]) -> str:
    """What comes back: the answer as bytes, or status, message and trailing metadata."""
    try:
        invoke = channel.unary_unary(path, type(request).SerializeToString, lambda raw: raw)
        return str(invoke(request, timeout=20, metadata=metadata))
    except grpc.RpcError as error:
        return f"{error.code()} {error.details()} {error.trailing_metadata()}"


def failed_start(secrets: dict[str, str], logs: Path) -> str:
    """All that a service says whose database is away."""
    quick = {
        "ALPHAPANDA_MESH__DEPENDENCY_PATIENCE_SECONDS": "0.3",
        "ALPHAPANDA_LOGGING__FOLDER": str(logs),
        "ALPHAPANDA_LOGGING__LEVEL": "debug",
    }
    ended = subprocess.run(
        [ALPHAPANDA[0], "serve", "risk", "--port", "0"],
        env={**os.environ, **secrets, **quick},
        cwd=logs.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.stdout + ended.stderr


def test_no_secret_leaves_the_process(
    up: Callable[..., Platform], exported: tuple[Collector, str], tmp_path: Path
) -> None:
    """Settings, requests and tokens: their secrets are in no output, file, answer, figure, span, audit row or argument."""
    collector, endpoint = exported
    (port,) = free_ports(1)
    secrets = planted(tmp_path)
    platform = up(
        environment=secrets
        | {
            "ALPHAPANDA_MONITORING__PROMETHEUS_PORT": str(port),
            "ALPHAPANDA_MONITORING__METRICS_INTERVAL_SECONDS": "0.2",
            "ALPHAPANDA_TELEMETRY__OTLP_ENDPOINT": endpoint,
            "ALPHAPANDA_LOGGING__LEVEL": "debug",
        }
    )
    bearer = (("authorization", f"Bearer {CANARY}-bearer"), ("x-api-key", f"{CANARY}-key"))
    halt = SetKillSwitchRequest(request_id="halt", broker="paper", state=3, reason=f"{SEEN}: a test")
    refused = SetKillSwitchRequest(request_id=f"Bearer {CANARY}-refused", broker="paper", state=99)
    came: dict[str, str] = {}
    with grpc.insecure_channel(platform.target) as channel:
        came["a command"] = call(channel, "/panda.risk.v1.RiskService/SetKillSwitch", halt, bearer)
        echoed = SquareOffRequest(request_id="echo", symbol=f"Bearer {CANARY}-echoed")
        came["an echo"] = call(channel, "/panda.trading.v1.TradingService/SquareOff", echoed, bearer)
        came["a refusal"] = call(channel, "/panda.risk.v1.RiskService/SetKillSwitch", refused, bearer)
        for path, request in with_secrets():
            came[path] = call(channel, path, request, bearer)
        page = ListAuditEntriesRequest(page_size=500)
        until(lambda: len(platform.ops.ListAuditEntries(page).entries) >= 2, 20, "both commands in the audit")
        came["the audit"] = MessageToJson(platform.ops.ListAuditEntries(page))
    for path in ("metrics", "healthz"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as answer:
            came[path] = answer.read().decode()
    until(lambda: collector.taken, 20, "something exported")
    for process in servers_of(platform.data_dir):
        came[f"arguments of {process.pid}"] = f"{process.name()} {process.cmdline()}"
    assert platform.process is not None
    came["arguments"] = str(psutil.Process(platform.process.pid).cmdline())
    came["standard output and error"] = platform._out.read_text() + platform.complaints
    platform.stop()
    came["after the end"] = platform._out.read_text() + platform.complaints
    came["exported"] = str(collector.taken)
    for arguments in (["settings"], ["settings", "--json"], ["doctor", "--mesh"]):
        came[" ".join(arguments)] = CliRunner().invoke(main, arguments, env=secrets).output
    came["a start that fails"] = failed_start(secrets, tmp_path / "logs")
    files = subprocess.run(
        ["grep", "-rlaF", CANARY, str(platform.data_dir), str(tmp_path / "logs")],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    assert [where for where, said in came.items() if CANARY in said] == []
    assert files == []
    assert SEEN in came["the audit"]
    assert json.loads(came["settings --json"])
    assert "[redacted]" in came["an echo"]
    assert "did not answer" in came["a start that fails"]
