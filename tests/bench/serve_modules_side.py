"""Starts one service as `alphapanda serve` does, and prints the modules that are loaded when it serves, in order."""

from __future__ import annotations

import asyncio
import json
import sys

import alphapanda.commands.serving
from alphapanda.app.serve import Serving
from alphapanda.commands.mesh import mesh_settings


async def main(service: str) -> None:
    """Prints them as JSON, but for this program's own."""
    serving = Serving(mesh_settings(None), [service], port=0)
    await serving.start()
    try:
        print(json.dumps([name for name in sys.modules if name not in {"__main__", "__mp_main__"}]))
    finally:
        await serving.stop()


if __name__ == "__main__":
    assert alphapanda.commands.serving  # what the command line loads belongs to the list
    asyncio.run(main(sys.argv[1]))
