"""Finds settings that contradict each other; they are reported with all other errors, before anything starts.

In production every network connection is encrypted, every caller is authenticated and no secret is missing.
Connections within the machine (a Unix socket, loopback) count as safe; gRPC doesn't, because it serves other machines.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from alphapanda.domain.errors import InvalidInput
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.mesh.loopback import is_loopback
from alphapanda.mesh.secret_text import parsed_secrets
from alphapanda.settings.auth import AuthSettings
from alphapanda.settings.disagreement import Disagreement
from alphapanda.settings.kite_consistency import kite_disagreements
from alphapanda.settings.model import Settings
from alphapanda.settings.tls import TlsSettings

PRODUCTION: Final = "production"
HS256: Final = "HS256"
ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})
"""Values of asyncpg's `ssl` with which nothing is sent in plaintext."""
_WAITS: Final = (
    ("retry", "initial_seconds", "max_seconds"),
    ("reconnection", "base_delay_seconds", "max_delay_seconds"),
)
"""Sections with a first and a longest wait."""


def disagreements(settings: Settings) -> Iterator[Disagreement]:
    """Yields every contradiction."""
    if settings.zerodha.enabled and "zerodha" not in settings.active_brokers:
        yield Disagreement(
            ("zerodha.enabled", "active_brokers"), "zerodha.enabled needs 'zerodha' in active_brokers"
        )
    yield from kite_disagreements(settings.zerodha, settings.account, settings.active_brokers)
    for section, first, longest in _WAITS:
        held = getattr(settings, section)
        if getattr(held, first) > getattr(held, longest):
            yield Disagreement(
                (f"{section}.{first}", f"{section}.{longest}"),
                f"{section}.{first} {getattr(held, first):g} is longer than"
                f" {section}.{longest} {getattr(held, longest):g}",
            )
    if settings.retention.decisions_hours <= settings.topics.long_retention_hours:
        yield Disagreement(
            ("retention.decisions_hours", "topics.long_retention_hours"),
            f"retention.decisions_hours {settings.retention.decisions_hours:g} is not longer than"
            f" topics.long_retention_hours {settings.topics.long_retention_hours}: a record that is redriven would be decided twice",
        )
    for name, message in _auth(settings.auth):
        yield Disagreement((name, "auth.enabled", "auth.algorithm"), message)
    logs = settings.logging
    if not logs.console and not logs.files:
        yield Disagreement(
            ("logging.console", "logging.files"),
            "logging.console and logging.files are both false: nobody would see an error; set one of them to true",
        )
    for name, message in _kafka(KafkaOptions(**dict(settings.kafka))):
        yield Disagreement((name, "kafka.security_protocol"), message)
    yield from _tls(settings.tls)
    if settings.environment == PRODUCTION:
        for name, message in _unfit_for_production(settings):
            yield Disagreement(("environment", name), f"environment is production, and {message}")


def _tls(tls: TlsSettings) -> Iterator[Disagreement]:
    if (tls.certificate is None) is not (tls.key is None):
        there, missing = ("certificate", "key") if tls.key is None else ("key", "certificate")
        yield Disagreement(
            ("tls.certificate", "tls.key"),
            f"tls.{there} needs tls.{missing}, which is empty: set both or none",
        )
    if tls.client_certificates == "required":
        for name in ("certificate", "ca"):
            if getattr(tls, name) is None:
                yield Disagreement(
                    ("tls.client_certificates", f"tls.{name}"),
                    f"tls.client_certificates is required, and tls.{name} is empty",
                )


def _unfit_for_production(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.tls.certificate is None and settings.tls.key is None:
        yield (
            "tls.certificate",
            "gRPC is not encrypted: set tls.certificate and tls.key to PEM files, and tls.ca to their authority",
        )
    auth = settings.auth
    if not auth.enabled:
        yield "auth.enabled", "whoever calls may do everything: set auth.enabled to true"
        if auth.algorithm == HS256 and not auth.secret:
            yield (
                "auth.secret",
                "auth.secret is empty: set it to a secret, such as `openssl rand -base64 48` prints",
            )
    yield from _kafka_in_production(KafkaOptions(**dict(settings.kafka)))
    yield from _database(settings)
    yield from _redis(settings)
    collector = _split(settings.telemetry.otlp_endpoint)
    if collector.scheme == "http" and not _stays_here(collector, ""):
        yield (
            "telemetry.otlp_endpoint",
            "the connection to the collector is not encrypted: begin telemetry.otlp_endpoint with https://",
        )


def _auth(auth: AuthSettings) -> Iterator[tuple[str, str]]:
    """The secret that tokens are signed with. There is no default: whoever knew it could sign for everybody."""
    if auth.algorithm != HS256 or not (auth.enabled or auth.secret):
        return
    try:
        parsed_secrets(auth.secret)
    except InvalidInput as refused:
        wrong = refused.value or "is not set"
        yield "auth.secret", f"auth.enabled with {HS256} needs auth.secret, which {wrong}: {refused.allowed}"


def _kafka(kafka: KafkaOptions) -> Iterator[tuple[str, str]]:
    protocol = kafka.security_protocol
    for name, value in (("sasl_username", kafka.sasl_username), ("sasl_password", kafka.sasl_password)):
        if kafka.authenticated and not value:
            yield f"kafka.{name}", f"kafka.security_protocol {protocol} needs kafka.{name}, which is empty"
        elif value and not kafka.authenticated:
            yield (
                f"kafka.{name}",
                f"kafka.{name} is set and kafka.security_protocol is {protocol}: SASL_SSL or SASL_PLAINTEXT use it",
            )
    if kafka.ca_file is None:
        return
    if not kafka.encrypted:
        yield (
            "kafka.ca_file",
            f"kafka.ca_file is set and kafka.security_protocol is {protocol}: SSL or SASL_SSL use it",
        )
    try:
        ssl.create_default_context(cafile=kafka.ca_file)
    except OSError as error:  # SSLError is among them
        reason = "holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        yield "kafka.ca_file", f"kafka.ca_file {str(kafka.ca_file)!r}: {reason}"


def _kafka_in_production(kafka: KafkaOptions) -> Iterator[tuple[str, str]]:
    servers = [server.strip() for server in kafka.bootstrap_servers.split(",")]
    away = [server for server in servers if not is_loopback(server.rpartition(":")[0].strip("[]"))]
    if away and not kafka.encrypted:
        yield (
            "kafka.security_protocol",
            f"Kafka at {', '.join(away)} is reached without encryption: set kafka.security_protocol to SASL_SSL",
        )
    elif away and not kafka.authenticated:
        yield (
            "kafka.security_protocol",
            f"Kafka at {', '.join(away)} is reached without a password: set kafka.security_protocol to SASL_SSL",
        )


def _database(settings: Settings) -> Iterator[tuple[str, str]]:
    url = _split(settings.database.url)
    query = parse_qs(url.query)
    if not settings.database.url or _stays_here(url, query.get("host", [""])[0]):
        return
    if query.get("ssl", [""])[0] not in ENCRYPTED:
        yield (
            "database.url",
            "the connection to PostgreSQL is not encrypted: add ?ssl=verify-full (or verify-ca, require) to database.url",
        )
    if not url.password and "password" not in query:
        yield "database.url", "database.url has no password"


def _redis(settings: Settings) -> Iterator[tuple[str, str]]:
    url = _split(settings.redis.url)
    if not settings.redis.url or url.scheme == "unix" or _stays_here(url, ""):
        return
    if url.scheme != "rediss":
        yield "redis.url", "the connection to Redis is not encrypted: begin redis.url with rediss://"
    if not url.password:
        yield "redis.url", "redis.url has no password"


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # brackets without an address: not this machine
        return SplitResult("", "", "", "", "")


def _stays_here(url: SplitResult, host: str) -> bool:
    """Whether the address is on this machine. `host`: the query's host, which has priority; a path is a socket."""
    return host.startswith("/") or is_loopback(host or url.hostname or "")
