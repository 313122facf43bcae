"""tools/mesh.py as a program, with services that are forked from a process that has imported them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from typing_extensions import override

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import fork_server
from mesh import Mesh, Process, main

SETTINGS = "environment.json"


class ForkedMesh(Mesh):
    """The same mesh: its starts alone take tenths of a second of processor time, not seconds."""

    @override
    def popen(
        self, arguments: Sequence[str], environment: Mapping[str, str], out: IO[bytes] | None = None
    ) -> Process:
        (self.folder / SETTINGS).write_text(
            json.dumps(dict(self.environment))
        )  # /proc has those of who forked it
        return fork_server.popen(
            arguments, stdout=out or sys.stdout, stderr=out or sys.stderr, env=environment, cwd="."
        )


if __name__ == "__main__":
    fork_server.enable()
    raise SystemExit(asyncio.run(main(ForkedMesh)))
