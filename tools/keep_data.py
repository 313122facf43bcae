"""Keeps what a platform of today leaves, for the tests that upgrade it: its database and its event log, packed.

    $ .venv/bin/alphapanda up --demo --data-dir FOLDER     # for a minute, then Ctrl-C
    $ .venv/bin/python tools/keep_data.py FOLDER           # writes tests/kept/REVISION

Done once a released revision of the schema. tests/e2e/test_upgrade.py starts today's program on each, and
tests/integration/storage/test_kept.py compares its schema with a new one.
"""

from __future__ import annotations

import argparse
import asyncio
import lzma
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.postgres_programs import run_client
from alphapanda.storage.engine import open_engine
from alphapanda.storage.schema import schema_version

KEPT = Path(__file__).resolve().parents[1] / "tests/kept"
OF_NOBODY = ("--no-owner", "--no-privileges")


async def keep(folder: Path) -> Path:
    """Writes a stopped platform's database and log; returns where they are."""
    directory = DataDirectory(folder)
    directory.acquire(datetime.now(tz=UTC))
    server = EmbeddedPostgres(directory.path)
    try:
        url = await server.start()
        engine = open_engine(url, 1)
        revision = str((await schema_version(engine)).current)
        await engine.dispose()
        to = KEPT / revision
        to.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as made:
            dump = Path(made, "database.sql")
            await run_client("pg_dump", *OF_NOBODY, f"--file={dump}", url=make_url(url))
            _pack(dump, to)
        _pack(directory.layout.events, to)
    finally:
        await server.stop()
        directory.release()
    return to


def _pack(file: Path, to: Path) -> None:
    (to / f"{file.name}.xz").write_bytes(lzma.compress(file.read_bytes(), preset=9))


def main() -> int:
    """Keeps a data directory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="data directory of a platform that is stopped")
    to = asyncio.run(keep(parser.parse_args().folder))
    for file in sorted(to.iterdir()):
        print(f"{file}: {file.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
