"""What the commands that prepare a mesh need to be told."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from alphapanda.app import prepare
from alphapanda.cli import main

DATABASE = {"ALPHAPANDA_DATABASE__URL": "postgresql+asyncpg://alphapanda@127.0.0.1:1/alphapanda"}


def test_upgrading_the_schema_needs_the_database_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens no Redis, so it asks for none: a Job that migrates needn't know where Redis is."""

    async def upgraded(_settings: Any) -> tuple[str, str]:
        return "0001", "0002"

    monkeypatch.setattr(prepare, "upgrade_database", upgraded)
    done = CliRunner().invoke(main, ["db", "upgrade"], env=DATABASE)
    assert (done.exit_code, done.output) == (0, "schema from 0001 to 0002\n")
    without = CliRunner().invoke(main, ["db", "upgrade"])
    assert without.exit_code == 2
    assert "setting database.url is empty" in without.output


def test_creating_topics_needs_kafka_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose address has a default: neither database nor Redis is asked for."""

    async def ensured(_settings: Any) -> tuple[int, list[str]]:
        return 3, []

    monkeypatch.setattr(prepare, "ensure_topics", ensured)
    done = CliRunner().invoke(main, ["topics", "ensure"])
    assert (done.exit_code, done.output) == (0, "3 topics are there\n")
