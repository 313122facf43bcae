"""Log lines: their shape, and what never stands in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import structlog

from alphapanda.settings import LoggingSettings
from alphapanda.telemetry.correlation import current_correlation_id
from alphapanda.telemetry.logs import configure_logging
from alphapanda.telemetry.redaction import REDACTED, is_secret, redacted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Puts the process's logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def configured(stream: io.StringIO, **settings: str) -> io.StringIO:
    configure_logging(LoggingSettings(**settings), stream)
    return stream


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_utc_time() -> None:
    """Off a terminal each line is JSON with event, level, fields and an ISO time in UTC."""
    stream = configured(io.StringIO())
    structlog.get_logger().info("order submitted", order_id="o-1")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["order_id"]) == ("order submitted", "info", "o-1")
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_a_terminal_gets_lines_for_people() -> None:
    """On a terminal `auto` means the console format."""
    stream = configured(Terminal())
    structlog.get_logger().info("order submitted")
    assert "order submitted" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_the_level_is_kept() -> None:
    """What is below the level isn't written."""
    stream = configured(io.StringIO(), level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_libraries_write_to_the_same_stream() -> None:
    """The standard library's warnings come as the same JSON, with the logger's name; its chatter doesn't."""
    stream = configured(io.StringIO())
    logging.getLogger("aiokafka").info("chatter")
    logging.getLogger("aiokafka").warning("broker %s away", "b1")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("broker b1 away", "aiokafka", "warning")


def test_the_correlation_id_is_in_the_line() -> None:
    """What is being followed is named in every line, and nothing is where nothing is followed."""
    stream = configured(io.StringIO())
    before = current_correlation_id.set("c-1")
    structlog.get_logger().info("within")
    current_correlation_id.reset(before)
    structlog.get_logger().info("outside")
    assert [line.get("correlation_id") for line in lines(stream)] == ["c-1", None]


def test_bound_context_is_in_the_line() -> None:
    """Context variables of structlog are merged."""
    stream = configured(io.StringIO())
    with structlog.contextvars.bound_contextvars(broker="paper"):
        structlog.get_logger().info("within")
    assert lines(stream)[0]["broker"] == "paper"


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_traceback_has_no_secret(format_) -> None:
    """An exception that quotes a URL with a password is logged without it, from either kind of logger."""
    stream = configured(io.StringIO(), format=format_)
    error = ConnectionError("postgresql://panda:hunter2@db:5432/panda is away")
    structlog.get_logger().error("failed", exc_info=error)
    logging.getLogger("library").error("failed", exc_info=error)
    assert stream.getvalue().count("ConnectionError") >= 2
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize(
    "key",
    ["password", "db_password", "api_secret", "access_token", "token", "Authorization", "api_key", "totp"],
)
def test_a_secrets_key_is_known(key) -> None:
    """Under such a name nothing is shown, at any depth."""
    assert is_secret(key)
    assert redacted({"outer": [{key: "hunter2"}]}) == {"outer": [{key: REDACTED}]}


@pytest.mark.parametrize(
    "key", ["instrument_token", "page_token", "next_page_token", "instrument_tokens", "order_id"]
)
def test_an_instruments_token_is_no_secret(key) -> None:
    """Instruments and pages have tokens that everybody may see."""
    assert redacted({key: 408065}) == {key: 408065}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:hunter2@cache:6379/0", "redis://:[redacted]@cache:6379/0"),
        ("postgresql+asyncpg://u:p@ss:w@db/x", "postgresql+asyncpg://u:[redacted]@db/x"),
        ("GET /login?access_token=hunter2&x=1", "GET /login?access_token=[redacted]&x=1"),
        ("password='hunter2' user=x", "password='[redacted]' user=x"),  # pragma: allowlist secret
        ("Authorization: token abc:hunter2", "Authorization: token [redacted]"),
        ("Bearer hunter2", "Bearer [redacted]"),
        ("instrument_token=408065", "instrument_token=408065"),
        ("http://127.0.0.1:50051/x", "http://127.0.0.1:50051/x"),
    ],
)
def test_a_secret_in_a_text_is_found(text, shown) -> None:
    """Passwords in URLs, named secrets and authorisation headers leave a text; the rest stays."""
    assert redacted(text) == shown
