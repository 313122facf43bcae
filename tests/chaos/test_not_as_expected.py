"""A service that finds another world than its own refuses to start, and says what to run; having run that, it goes on."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess

import fork_server
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from sqlalchemy import text

from alphapanda.storage.engine import open_engine

PROGRAM = str(Path(sys.executable).with_name("alphapanda"))


@pytest.fixture
def world(database: str, redis_url: str, kafka: str, tmp_path: Path) -> Mapping[str, str]:
    """The environment of a service on an empty database and a Kafka without its topics."""
    return os.environ | {
        "ALPHAPANDA_DATABASE__URL": database,
        "ALPHAPANDA_REDIS__URL": redis_url,
        "ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS": kafka,
        "ALPHAPANDA_ACTIVE_BROKERS": "paper",
        "HOME": str(tmp_path),
    }


def run(world: Mapping[str, str], *arguments: str) -> CompletedProcess[str]:
    return fork_server.run([PROGRAM, *arguments], env=world, cwd=world["HOME"], timeout=120)


def refusal(world: Mapping[str, str]) -> str:
    """Why `alphapanda serve` doesn't start."""
    done = run(world, "serve", "instruments", "--port", "0")
    assert done.returncode == 1
    return done.stderr


def test_a_service_refuses_what_is_not_as_expected(world: Mapping[str, str], database: str, kafka: str):
    """Schema behind, topics missing, partitions other than the contract's, a newer program's schema: each refused."""
    assert "run `alphapanda db upgrade`" in refusal(world)
    assert run(world, "db", "upgrade").returncode == 0
    assert "run `alphapanda topics ensure`" in refusal(world)
    assert run(world, "topics", "ensure").returncode == 0

    async def grow() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            await admin.create_partitions({"paper.signals.raw": NewPartitions(9)})
        finally:
            await admin.close()

    asyncio.run(grow())
    assert "topic paper.signals.raw has 9 partitions, the contract says 8" in refusal(world)

    async def upgrade_beyond() -> None:
        engine = open_engine(database, 1)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await engine.dispose()

    asyncio.run(upgrade_beyond())
    told = refusal(world)
    assert "at 9999, which this program doesn't know" in told
    assert "db upgrade" not in told
