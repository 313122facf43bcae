"""A real Prometheus on loopback, with the rules of deploy/observability, scraping one process each half second."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.observability.expressions import FOLDER

READY_SECONDS = 60.0
STOP_SECONDS = 20.0


class Prometheus:
    """Runs it in a folder of its own.

    Args:
        binary: path of prometheus.
        folder: where its data goes.
        port: its own port.
        target: port of the process that it scrapes.
    """

    def __init__(self, binary: str, folder: Path, port: int, target: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self.began = time.time()
        configuration = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"},
            "rule_files": [str(FOLDER / "rules.yml")],
            "scrape_configs": [
                {"job_name": "alphapanda", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
            ],
        }
        folder.mkdir()
        (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                binary,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> Self:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            with suppress(OSError), urllib.request.urlopen(f"{self._base}/-/ready") as answer:
                if answer.status == 200:
                    return self
            time.sleep(0.1)
        self.__exit__()
        raise AssertionError(f"Prometheus wasn't ready within {READY_SECONDS:g} s; see {self._log.name}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(STOP_SECONDS)
        self._log.close()

    def ask(self, path: str, **parameters: str | float) -> Any:
        """The data of an answer; an error of the query is raised with its text."""
        url = f"{self._base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def now(self, expression: str) -> Sequence[dict[str, Any]]:
        """What an expression says now."""
        found: Sequence[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def so_far(self, expression: str) -> Sequence[dict[str, Any]]:
        """What an expression said at any time since the start, as a panel shows it."""
        found: Sequence[dict[str, Any]] = self.ask(
            "query_range", query=expression, start=self.began, end=time.time(), step=0.5
        )["result"]
        return found
