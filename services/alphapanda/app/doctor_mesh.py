"""Checks what a start in the mesh needs: Kafka, topics, PostgreSQL, schema, Redis, services, clocks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from alphapanda.app.clocks import wall_clock
from alphapanda.app.doctor_tls import connection_findings, security_for_questions
from alphapanda.app.findings import CHECK_SECONDS, Finding, fail, found, ok, warn
from alphapanda.app.mesh_agreement import what_was_taken_back
from alphapanda.app.options import kafka_options
from alphapanda.app.resources import open_redis
from alphapanda.app.serve import SERVICES, mesh_log
from alphapanda.app.topics import topics_of
from alphapanda.eventlog.kafka.client import KafkaClients
from alphapanda.eventlog.kafka.topics import KafkaTopics
from alphapanda.eventlog.port import LogUnavailable, TopicMissing
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.security import ChannelSecurity
from alphapanda.settings.model import Settings
from alphapanda.storage.engine import open_engine
from alphapanda.storage.schema import schema_version
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry

MOST_SKEW_SECONDS: Final = 1.0
"""Largest clock difference: leases and price ages compare the clocks of different machines."""
HEALTH_SECONDS: Final = 1.0


async def mesh_findings(settings: Settings) -> list[Finding]:
    """Runs all checks of the mesh, concurrently."""
    targets = {name: settings.mesh.target(name) for name in SERVICES if name != "ops"}
    targets["ops"] = f"{settings.api.host}:{settings.api.port}"
    security = security_for_questions(settings).channels
    looks = [
        _kafka(settings),
        _database(settings),
        _redis(settings),
        _agreement(settings),
        *(_service(name, target, security) for name, target in targets.items()),
    ]
    return [finding for findings in await asyncio.gather(*looks) for finding in findings]


async def _kafka(settings: Settings) -> list[Finding]:
    at = settings.kafka.bootstrap_servers
    topics = KafkaTopics(KafkaClients(kafka_options(settings.kafka)), settings.kafka.replication_factor)
    specs = topics_of(settings, BrokerRegistry(BROKERS)).specs()

    async def check() -> list[Finding]:
        await topics.start()
        missing, different = await topics.compare(specs)
        findings = [ok("kafka", f"answers at {at}")]
        if missing:
            named = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")  # noqa: PLR2004 - a few say enough
            reason = f"{len(missing)} of {len(specs)} are missing: {named}"
            findings.append(fail("topics", reason, "run `alphapanda topics ensure`"))
        else:
            findings.append(ok("topics", f"all {len(specs)} are there"))
        remedy = "alter the topic by hand where that is possible; a partition count never changes"
        findings += (warn("topic as specified", line, remedy) for line in different)
        return findings

    try:
        return await found("kafka", check, f"start Kafka at {at}, or correct kafka.bootstrap_servers")
    finally:
        await topics.stop()


async def _database(settings: Settings) -> list[Finding]:
    if not settings.database.url:
        return [fail("database", "database.url is empty", "set ALPHAPANDA_DATABASE__URL")]
    engine = open_engine(settings.database.url, 1, settings.monitoring.slow_query_seconds)

    async def check() -> list[Finding]:
        version = await schema_version(engine)
        findings = [ok("database", "answers")]
        if version.up_to_date:
            findings.append(ok("schema", f"at {version.needed}"))
        else:
            reason = f"at {version.current or 'nothing'}, {version.needed} is needed"
            findings.append(fail("schema", reason, "run `alphapanda db upgrade`"))
        async with engine.connect() as connection:
            before = wall_clock()
            server_time = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
            findings.append(_skew("PostgreSQL", before, server_time, wall_clock()))
        return findings

    try:
        return await found("database", check, "start PostgreSQL, or correct database.url")
    finally:
        await engine.dispose()


async def _agreement(settings: Settings) -> list[Finding]:
    """Whether the database knows what Kafka holds; says nothing where one of them can't be asked, which others say."""
    topic_map = topics_of(settings, BrokerRegistry(BROKERS))
    if not settings.database.url:
        return []
    engine, log = open_engine(settings.database.url, 1), mesh_log(settings, topic_map)
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await log.start()
            taken_back = await what_was_taken_back(engine, log, topic_map, SERVICES)
    except (LogUnavailable, TopicMissing, SQLAlchemyError, OSError):
        return []
    finally:
        await log.stop()
        await engine.dispose()
    if not taken_back:
        return [ok("database and kafka", "the database knows the newest events")]
    remedy = "if PostgreSQL was restored, stop every service and run `alphapanda db restored`; else correct database.url"
    return [fail("database and kafka", f"Kafka is newer: {taken_back}", remedy)]


async def _redis(settings: Settings) -> list[Finding]:
    if not settings.redis.url:
        return [fail("redis", "redis.url is empty", "set ALPHAPANDA_REDIS__URL")]

    async def check() -> list[Finding]:
        async with open_redis(settings.redis.url, settings.retry, settings.redis.timeout_seconds) as redis:
            await redis.ping()
            before = wall_clock()
            seconds, microseconds = await redis.time()
            server_time = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
            return [ok("redis", "answers"), _skew("Redis", before, server_time, wall_clock())]

    return await found("redis", check, "start Redis, or correct redis.url")


def _skew(whose: str, before: datetime, server_time: datetime, after: datetime) -> Finding:
    """Checks the smallest possible difference of another machine's clock, read between two readings of ours."""
    name = f"clock against {whose}"
    off = max((before - server_time).total_seconds(), (server_time - after).total_seconds(), 0.0)
    if off > MOST_SKEW_SECONDS:
        reason = f"{off:.1f} s apart; {MOST_SKEW_SECONDS:g} s are allowed"
        return fail(name, reason, "synchronise the clocks of both machines (NTP)")
    return ok(name, f"{off:.3f} s apart")


async def _service(name: str, target: str, security: ChannelSecurity) -> list[Finding]:
    async def check() -> list[Finding]:
        async with open_channel(target, (), security=security) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its stubs declare no methods
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return [ok(name, f"serves at {target}")]
        remedy = f"ask why: `alphapanda status --target {target}`"
        return [warn(name, f"answers at {target} and doesn't serve", remedy)]

    findings = await found(name, check, "")
    if findings[0].outcome == "fail" and (explained := await connection_findings(name, target, security)):
        return explained
    return [
        warn(name, f"nothing answers at {target}", f"start it: `alphapanda serve {name}`")
        if finding.outcome == "fail"
        else finding
        for finding in findings
    ]
