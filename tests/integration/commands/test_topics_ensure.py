"""`alphapanda topics ensure` on real Kafka: topics kept as long as the settings say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from click.testing import CliRunner

from alphapanda.app.topics import topics_of
from alphapanda.cli import main
from alphapanda.settings.sources import load_settings
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry

GONE_SECONDS = 30
ENVIRONMENT = {
    "ALPHAPANDA_TOPICS__SHORT_RETENTION_HOURS": "3",
    "ALPHAPANDA_TOPICS__MEDIUM_RETENTION_HOURS": "48",
    "ALPHAPANDA_TOPICS__LONG_RETENTION_HOURS": "720",
}
HOUR_MS = 3_600_000


class Broker:
    """What Kafka itself says of its topics."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def retention_hours(self, names: Sequence[str]) -> dict[str, int | None]:
        """Hours that each topic keeps its records; None for ever."""

        async def ask(admin: AIOKafkaAdminClient) -> dict[str, int | None]:
            asked = [ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": None}) for name in names]
            found = {}
            for answer in await admin.describe_configs(asked):
                for _, _, _, name, entries in answer.resources:
                    kept = int(entries[0][1])
                    found[name] = None if kept < 0 else kept // HOUR_MS
            return found

        return asyncio.run(self._with(ask))

    def remove(self, names: Sequence[str]) -> None:
        """Removes those of these topics that are there, and waits until they aren't."""

        async def take_away(admin: AIOKafkaAdminClient) -> None:
            there = set(names).intersection(await admin.list_topics())
            if there:
                await admin.delete_topics(sorted(there))
            until = time.monotonic() + GONE_SECONDS
            while there.intersection(await admin.list_topics()):
                assert time.monotonic() < until, "topics don't go away"
                await asyncio.sleep(0.05)

        asyncio.run(self._with(take_away))

    async def _with(self, act):
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            return await act(admin)
        finally:
            await admin.close()


@pytest.fixture
def ensure(kafka: str, tmp_path, monkeypatch) -> Iterator[Callable[..., str]]:
    """Runs it for paper with an environment; the deployment's topics are absent before and after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("ALPHAPANDA_ACTIVE_BROKERS", "paper")
    monkeypatch.setenv("ALPHAPANDA_DATABASE__URL", "postgresql+asyncpg://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("ALPHAPANDA_REDIS__URL", "redis://127.0.0.1:1")
    names = list(wanted())

    def run(environment: dict[str, str]) -> str:
        result = CliRunner().invoke(main, ["topics", "ensure"], env=environment)
        assert result.exit_code == 0, result.output
        return result.output

    Broker(kafka).remove(names)
    yield run
    Broker(kafka).remove(names)


def wanted(**environment: str) -> dict[str, int | None]:
    """Hours kept, by topic, of paper alone."""
    settings = load_settings({"ALPHAPANDA_ACTIVE_BROKERS": "paper"} | environment)
    return {spec.name: spec.retention_hours for spec in topics_of(settings, BrokerRegistry(BROKERS)).specs()}


def test_topics_are_kept_as_the_settings_say(ensure, kafka):
    """Every topic is made with the hours of its class; later hours change no topic and each difference is told."""
    ensure(ENVIRONMENT)
    hours = Broker(kafka).retention_hours(list(wanted()))
    assert hours == wanted(**ENVIRONMENT)
    assert hours["market.ticks"] == 3
    assert hours["paper.signals.raw"] == 48
    assert hours["paper.orders.filled"] == 720
    assert {kept for name, kept in hours.items() if name.endswith(".dlq")} == {720}

    told = ensure(ENVIRONMENT | {"ALPHAPANDA_TOPICS__SHORT_RETENTION_HOURS": "4"})
    assert "topic 'market.ticks' has retention_hours 3, 4 is wanted; it stays as it is" in " ".join(
        told.split()
    )
    assert Broker(kafka).retention_hours(list(wanted())) == hours
