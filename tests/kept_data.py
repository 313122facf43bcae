"""What platforms of earlier revisions left (`tests/kept/REVISION`, written by tools/keep_data.py): a database and a log."""

from __future__ import annotations

import asyncio
import lzma
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.postgres_programs import run_client

KEPT = Path(__file__).parent / "kept"
REVISIONS = sorted(folder.name for folder in KEPT.iterdir())


def unpacked(revision: str, name: str) -> bytes:
    """A kept file's content."""
    return lzma.decompress((KEPT / revision / f"{name}.xz").read_bytes())


async def load_database(revision: str, url: str) -> None:
    """Fills an empty database with what a platform of a revision left."""
    with tempfile.NamedTemporaryFile(suffix=".sql") as dump:
        dump.write(unpacked(revision, "database.sql"))
        dump.flush()
        options = ("--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1")
        await run_client("psql", *options, "--output=/dev/null", f"--file={dump.name}", url=make_url(url))


def make_data_directory(revision: str, data_dir: Path) -> None:
    """Makes a data directory as a platform of a revision left it."""
    directory = DataDirectory(data_dir)
    directory.acquire(datetime.now(tz=UTC))

    async def fill() -> None:
        server = EmbeddedPostgres(directory.path)
        try:
            await load_database(revision, await server.start())
        finally:
            await server.stop()

    try:
        asyncio.run(fill())
        events = directory.layout.events
        events.parent.mkdir(exist_ok=True)
        events.write_bytes(unpacked(revision, "events.sqlite"))
    finally:
        directory.release()
