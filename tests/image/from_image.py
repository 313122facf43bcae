"""A mesh with mTLS and authentication whose services are containers: read-only, without privileges, of one image."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from image import container_environment
from kafka_server import free_ports
from mesh import Mesh
from sqlalchemy import make_url
from typing_extensions import override

CONFINED = (
    "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--pids-limit=256", "--memory=512m",
    "--tmpfs=/tmp:rw,size=64m", "--network=host",
)  # fmt: skip
"""How each container runs: what Kubernetes calls restricted, on a root that nobody can write."""


class MeshFromImage(Mesh):
    """The mesh of `make mesh --secure`, each service a container on this machine's network.

    Args:
        folder: where everything is kept; short, because sockets live in it.
        image: the image's name.
    """

    def __init__(self, folder: Path, image: str) -> None:
        super().__init__(folder, secure=True)
        self.image = image
        self.containers: dict[str, str] = {}
        self.ports = dict(zip(self.services, free_ports(len(self.services)), strict=True))
        self._run = f"panda-{uuid4().hex[:8]}"
        self._podman = container_environment()

    @override
    def run(self, *arguments: str) -> None:
        self.answer(*arguments)

    def answer(self, *arguments: str) -> str:
        """What a command of the image's own prints; it must end well."""
        done = self.podman("run", "--rm", *self._given(self._settings()), self.image, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @override
    def start_service(self, service: str) -> None:
        name = f"{self._run}-{service}"
        own = self._settings() | {
            key: value
            for key, value in self.secure.of_service(service).items()
            if key.startswith("ALPHAPANDA_")
        }
        command = ("serve", service, "--port", str(self.ports[service]))
        done = self.podman(
            "run",
            "--detach",
            "--restart",
            "on-failure:9",
            "--name",
            name,
            *self._given(own),
            self.image,
            *command,
        )
        assert done.returncode == 0, done.stderr
        self.containers[service] = name

    @override
    def stop_services(self) -> None:
        for name in self.containers.values():
            self.podman("rm", "--force", "--time", "20", name)

    def podman(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs podman to its end."""
        return subprocess.run(
            ["podman", *arguments], env=self._podman, capture_output=True, text=True, check=False
        )

    def asked(self, *arguments: str) -> dict[str, Any]:
        """What a command of the image's own answers as JSON, asked by a trader with certificate and token."""
        token = self.secure.folder / "token"
        token.write_text(self.secure.channel().token())
        token.chmod(0o644)
        self._open()
        given = ("--json", "--token-file", str(token))
        return json.loads(self.answer(*arguments, *given))

    def inspected(self, service: str) -> dict[str, Any]:
        """What podman knows of a service's container."""
        (container,) = json.loads(self.podman("inspect", self.containers[service]).stdout)
        return container

    def logs(self, service: str) -> str:
        """What a service has printed."""
        done = self.podman("logs", self.containers[service])
        return done.stdout + done.stderr

    def _settings(self) -> dict[str, str]:
        own = {name: value for name, value in self.environment.items() if name.startswith("ALPHAPANDA_")}
        places = {
            f"ALPHAPANDA_MESH__{name.upper()}": f"127.0.0.1:{port}"
            for name, port in self.ports.items()
            if name != "ops"
        }
        ops = {"ALPHAPANDA_API__PORT": str(self.ports["ops"])}
        return own | places | ops | {"ALPHAPANDA_ACTIVE_BROKERS": "paper"}

    def _given(self, settings: dict[str, str]) -> Sequence[str]:
        """Arguments: confinement, settings, and the sockets of the stores and certificates, which can't be written."""
        self._open()
        folders = [*self._sockets(), self.secure.folder]
        mounts = [part for folder in folders for part in ("--volume", f"{folder}:{folder}:ro")]
        values = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
        return (*CONFINED, *mounts, *values)

    def _sockets(self) -> list[Path]:
        postgres = make_url(self.environment["ALPHAPANDA_DATABASE__URL"]).query["host"]
        redis = unquote(urlsplit(self.environment["ALPHAPANDA_REDIS__URL"]).path)
        return [Path(str(postgres)), Path(redis).parent]

    def _open(self) -> None:
        """Lets the image's user reach what only its maker could: sockets and keys of this test's own."""
        for folder in (*self._sockets(), self.secure.folder):
            folder.chmod(0o755)
            for path in folder.rglob("*"):
                if path.is_socket():
                    path.chmod(0o777)
                elif os.access(path, os.R_OK):
                    path.chmod(0o755 if path.is_dir() else 0o644)
