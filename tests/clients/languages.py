"""The programs of each language, as `make clients` built them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "clients"


@dataclass(frozen=True, slots=True)
class Language:
    """The programs of one language.

    Attributes:
        name: of the language and its folder.
        command: what runs a program, whose name is put in for "{}".
        needs: a file that is there once it is built.
        environment: more variables.
    """

    name: str
    command: tuple[str, ...]
    needs: Path
    environment: tuple[tuple[str, str], ...] = ()

    def start(
        self, program: str, *arguments: str, stdout: IO[str] | int = subprocess.PIPE, **environment: str
    ) -> subprocess.Popen[str]:
        """Starts a program."""
        return subprocess.Popen(
            [*(part.format(program) for part in self.command), *arguments],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict(self.environment), **environment},
        )


GO = ROOT / ".tools" / "clients"
TYPESCRIPT = CLIENTS / "typescript" / "dist"
JAVA = CLIENTS / "java"
PYTHON = CLIENTS / "python"
LANGUAGES = (
    Language("go", (f"{GO}/{{}}",), GO / "trader"),
    Language(
        "typescript",
        ("node", "--preserve-symlinks", "--preserve-symlinks-main", f"{TYPESCRIPT}/{{}}.js"),
        TYPESCRIPT / "trader.js",
    ),
    Language("java", (f"{JAVA}/bin/{{}}",), JAVA / "examples" / "target" / "libraries"),
    Language(
        "python",
        (sys.executable, "-m", "alphapanda_client.{}"),
        PYTHON / "alphapanda_client" / "trader.py",
        (("PYTHONPATH", str(PYTHON)), ("PYTHONUNBUFFERED", "1")),
    ),
)
