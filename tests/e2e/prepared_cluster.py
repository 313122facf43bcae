"""A PostgreSQL cluster with an empty schema that is up to date, for platforms and tests to begin with."""

from __future__ import annotations

import asyncio
import atexit
import fcntl
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.layout import Layout
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.storage.engine import open_engine
from alphapanda.storage.schema import upgrade_schema

SHARED = "TEST_PREPARED_CLUSTER"
"""The environment variable that names a folder for the cluster, where several processes share one."""


def copy_to(data_dir: Path) -> None:
    """Puts a copy of it into a data directory that has none; it is made where there is none yet."""
    DataDirectory(data_dir).claim()
    layout = Layout(data_dir)
    layout.postgres.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["cp", "-a", _cluster(), layout.postgres_cluster], check=True)


@cache
def _cluster() -> Path:
    """Where it is: `initdb` and every migration take as long as the rest of a start."""
    if shared := os.environ.get(SHARED):
        folder = Path(shared)
    else:
        folder = Path(tempfile.mkdtemp(prefix="panda-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.mkdir(mode=0o711, exist_ok=True)
    folder.chmod(0o711)  # the server's user may pass
    with (folder / "making").open("w") as making:
        fcntl.flock(making, fcntl.LOCK_EX)
        made = folder / "made"
        if not made.exists():
            with ThreadPoolExecutor(1) as beside:  # the caller may have a loop
                beside.submit(asyncio.run, _make(folder)).result()
            made.touch()
    return Layout(folder).postgres_cluster


async def _make(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    try:
        engine = open_engine(await server.start(), 1)
        await upgrade_schema(engine)
        await engine.dispose()
    finally:
        await server.stop()
