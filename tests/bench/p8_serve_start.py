"""P8: the start of one service until it serves, against a bare interpreter that imports the same modules."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from mesh import PROGRAM, Mesh
from tests.bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
BAR = 1.5
MEASURED = ("portfolio", "trading", "risk", "strategy")
PATIENCE = 60.0
IMPORT_ALL = """
import contextlib, importlib, json, sys
for name in json.load(open(sys.argv[1])):
    with contextlib.suppress(ImportError):  # a few are only aliases that another module puts there
        importlib.import_module(name)
"""


def measure() -> list[Figure]:
    """A mesh with everything up; each round starts each service once and imports its modules once."""
    return asyncio.run(_measure())


async def _measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="alphapanda-bench-") as folder:
        mesh = Mesh(Path(folder))
        await mesh.start()
        try:
            for service in MEASURED:
                await asyncio.to_thread(_serving, mesh.environment, service)
            return [await asyncio.to_thread(_figure, mesh, service, Path(folder)) for service in MEASURED]
        finally:
            await mesh.stop()


def _figure(mesh: Mesh, service: str, folder: Path) -> Figure:
    modules = folder / f"{service}.json"
    modules.write_text(json.dumps(_modules(mesh, service)), encoding="utf-8")
    started, imported = [], []
    _end(mesh.processes[service])  # or the second member of its group would wait for the first to let go
    for _ in range(ROUNDS):
        started.append(_serving(mesh.environment, service))
        imported.append(_importing(mesh.environment, modules))
    mesh.start_service(service)
    ours, bare = median(started), median(imported)
    ratio = ours / bare
    return Figure(
        *("P8", f"serve {service} until it serves; against importing its modules"),
        *(f"{ours:.2f} s", f"{bare:.2f} s", ratio, f"<= {BAR:g}x", ratio <= BAR),
        f"of {ROUNDS} runs, {min(started):.2f} to {max(started):.2f} s; {len(json.loads(modules.read_text())):,} modules",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(PATIENCE)


def _serving(environment: dict[str, str], service: str) -> float:
    """Seconds until a service on a free port says that it is ready; it is stopped again."""
    began = time.perf_counter()
    with subprocess.Popen(
        [PROGRAM, "serve", service, "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        lines = []
        try:
            for line in running.stdout:
                lines.append(line)
                if '"event":"process.ready"' in line.replace(" ", ""):
                    return time.perf_counter() - began
            raise RuntimeError(f"serve {service} ended; it said at last:\n{''.join(lines[-20:])}")
        finally:
            running.terminate()
            running.communicate(timeout=PATIENCE)


def _modules(mesh: Mesh, service: str) -> list[str]:
    """The modules of a service that serves, as far as they can be imported by name."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.serve_modules_side", service],
        env=mesh.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    # It logs its stop after them, to the same stream.
    printed = next(line for line in done.stdout.splitlines() if line.startswith('["'))
    names: list[str] = json.loads(printed)
    return [name for name in names if not name.startswith("tests.")]


def _importing(environment: dict[str, str], modules: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT_ALL, str(modules)], env=environment, check=True)
    return time.perf_counter() - began
