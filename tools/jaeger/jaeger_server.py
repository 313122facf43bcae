"""A real Jaeger as a local process, traces in memory, for the tests and `make trace-demo`. `make jaeger` builds it.

Configuration and output live in one folder; all its ports are on loopback and chosen at the start.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka_server import free_ports
from trace_answer import TracedSpan, spans_of

TOOL = Path(__file__).resolve().parent
BINARIES = TOOL.parents[1] / ".tools" / "bin"
MOST_TRACES = 20_000
START_SECONDS = 30.0
STOP_SECONDS = 10.0
ANSWER_SECONDS = 10.0

CONFIG = """\
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
    logs: {{level: warn}}
extensions:
  jaeger_storage:
    backends:
      memory_store: {{memory: {{max_traces: {most}}}}}
  jaeger_query:
    storage: {{traces: memory_store}}
    http: {{endpoint: "127.0.0.1:{http}"}}
    grpc: {{endpoint: "127.0.0.1:{grpc}"}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{otlp}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory_store}}
"""


def binary() -> Path:
    """Where `make jaeger` puts the version that go.mod pins."""
    pinned = re.search(r"jaegertracing/jaeger v([0-9.]+)", (TOOL / "go.mod").read_text(encoding="utf-8"))
    return BINARIES / f"jaeger-{pinned[1] if pinned else ''}"


def missing_for_jaeger() -> str | None:
    """What has to be done before Jaeger can run here, None where nothing is missing."""
    if binary().is_file():
        return None
    need = (
        "run `make jaeger`"
        if shutil.which("go")
        else "install Go (https://go.dev/dl/), then run `make jaeger`"
    )
    return f"NO JAEGER: {need} (once; it takes some minutes)"


class JaegerDidNotStart(Exception):
    """It ended, or didn't answer in time; the message holds the end of its output."""


class JaegerServer:
    """Jaeger with its traces in memory, on loopback ports.

    Args:
        folder: where its configuration and output are kept; made where it isn't there.

    Attributes:
        endpoint: where spans are sent, OTLP over gRPC; empty before the start.
        url: where its API answers; empty before the start.
    """

    def __init__(self, folder: Path) -> None:
        self.endpoint = self.url = ""
        self._folder = folder
        self._output = folder / "jaeger.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that send a platform's traces to it; it takes no metrics."""
        section = "ALPHAPANDA_TELEMETRY__"
        return {f"{section}OTLP_ENDPOINT": self.endpoint, f"{section}OTLP_METRICS": "false"}

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        runs = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and runs else None

    def start(self) -> None:
        """Starts it, on the same ports where it has run before; returns once it answers.

        Raises:
            JaegerDidNotStart: then nothing is left running.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "jaeger.yaml"
        if not self.url:
            otlp, http, grpc = free_ports(3)
            config.write_text(CONFIG.format(most=MOST_TRACES, otlp=otlp, http=http, grpc=grpc))
            self.endpoint, self.url = f"http://127.0.0.1:{otlp}", f"http://127.0.0.1:{http}"
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [str(binary()), "--config", str(config)],
                env={**os.environ, "OTEL_TRACES_SAMPLER": "always_off"},  # it would trace itself
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is for who started it
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise JaegerDidNotStart(self._output.read_text(errors="replace")[-4000:])
            time.sleep(0.05)

    def stop(self) -> None:
        """Stops it in order; kills it where that takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Ends it as kill -9 does; its traces are gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Freezes it: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self._signal(signal.SIGCONT)

    # -- its API ------------------------------------------------------------------------------------------------------

    def services(self) -> list[str]:
        """Names of the services that have sent spans."""
        found: list[str] | None = self._get("/api/services")["data"]  # null before the first span
        return sorted(found or [])

    def trace(self, trace_id: str) -> list[TracedSpan]:
        """The spans of a trace, by time; none where there is no such trace.

        Args:
            trace_id: 32 hexadecimal digits.
        """
        try:
            return spans_of(self._get(f"/api/v3/traces/{trace_id}"))
        except urllib.error.HTTPError as error:
            if error.code != 404:  # noqa: PLR2004 - not found
                raise
            return []

    def search(self, service: str, tags: Mapping[str, str], limit: int = 20) -> list[str]:
        """Ids of the traces in which a span of the service has all these attributes.

        `GET /api/traces` filters by them; the search of /api/v3 ignores attributes without a word.
        """
        now = int(time.time() * 1e6)
        query = {
            "service": service,
            "tags": json.dumps(tags),
            "limit": str(limit),
            "start": str(now - 24 * 3_600 * 10**6),
            "end": str(now + 60 * 10**6),
        }
        found: Sequence[dict[str, Any]] = self._get("/api/traces", query)["data"] or ()
        return [str(one["traceID"]) for one in found]

    def dependencies(self, seconds: float = 3_600.0) -> dict[tuple[str, str], int]:
        """Spans of a callee under a span of a caller, counted by (caller, callee)."""
        query = {"endTs": str(int(time.time() * 1e3) + 1_000), "lookback": str(int(seconds * 1e3))}
        edges: Sequence[dict[str, Any]] = self._get("/api/dependencies", query)["data"] or ()
        return {(one["parent"], one["child"]): one["callCount"] for one in edges}

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        asked = f"?{urllib.parse.urlencode(query)}" if query else ""
        with urllib.request.urlopen(f"{self.url}{path}{asked}", timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - http
            found: dict[str, Any] = json.load(answer)
            return found

    def _answers(self) -> bool:
        try:
            self.services()
        except (OSError, ValueError, KeyError):
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
