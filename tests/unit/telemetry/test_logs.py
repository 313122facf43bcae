"""Log lines: their shape, and what never stands in them."""

from __future__ import annotations

import errno
import gzip
import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import structlog

from alphapanda.domain.errors import InvalidInput
from alphapanda.telemetry.channels import AUDIT, CHANNELS
from alphapanda.telemetry.correlation import current_broker, current_correlation_id, current_service
from alphapanda.telemetry.error_counts import ErrorCounts
from alphapanda.telemetry.files import DAY
from alphapanda.telemetry.kept_files import Rotated, compress_next, surplus
from alphapanda.telemetry.logs import configure_logging
from alphapanda.telemetry.options import LogChannelOptions, LoggingOptions, LogRotation
from alphapanda.telemetry.quiet import RepeatLimiter, UnwritableLines
from alphapanda.telemetry.redaction import REDACTED, is_secret, redacted, without_credentials
from alphapanda.telemetry.uncaught import log_uncaught


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Puts the process's logging back."""
    names = [None, "alphapanda", *(name for names in CHANNELS.values() for name in names)]
    before = [(logger, logger.handlers[:], logger.level) for logger in map(logging.getLogger, names)]
    yield
    for logger, handlers, level in before:
        for mine in logger.handlers:
            mine.close()
        logger.handlers[:] = handlers
        logger.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def configured(stream: io.StringIO, **settings: str) -> io.StringIO:
    configure_logging(LoggingOptions(**settings), stream)
    return stream


def channels(**own: LogChannelOptions) -> dict[str, LogChannelOptions]:
    """Every channel as it is by default, but for `own`."""
    return {**LoggingOptions().channels, **own}


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_utc_time() -> None:
    """Off a terminal each line is JSON with event, level, fields and an ISO time in UTC."""
    stream = configured(io.StringIO())
    structlog.get_logger("alphapanda.test").info("order submitted", order_id="o-1")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["order_id"]) == ("order submitted", "info", "o-1")
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_a_terminal_gets_lines_for_people() -> None:
    """On a terminal `auto` means the console format."""
    stream = configured(Terminal())
    structlog.get_logger("alphapanda.test").info("order submitted")
    assert "order submitted" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_a_terminal_obeys_nothing_that_a_line_holds() -> None:
    """Whoever signs in under a name with escapes doesn't clear the operator's screen; nor does an error's text."""
    stream = configured(io.StringIO(), format="console")
    log = structlog.get_logger("alphapanda.test")
    log.warning("login.refused", user="\x1b[2Jx", reason="\x9b2J\u202e")
    log.error("call.failed", exc_info=ValueError("\x1b]0;pwn\x07"))
    assert "[2Jx" in stream.getvalue()
    assert all(one.isprintable() or one == "\n" for one in stream.getvalue())


def test_the_level_is_kept() -> None:
    """What is below the level isn't written."""
    stream = configured(io.StringIO(), level="warning")
    structlog.get_logger("alphapanda.test").info("quiet")
    structlog.get_logger("alphapanda.test").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_libraries_write_to_the_same_stream() -> None:
    """The standard library's warnings come as the same JSON, with the logger's name; its chatter doesn't."""
    stream = configured(io.StringIO())
    logging.getLogger("aiokafka").info("chatter")
    logging.getLogger("aiokafka").warning("broker %s away", "b1")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("broker b1 away", "aiokafka", "warning")


class TestChannels:
    """Files of the channels, beside the process's own log."""

    def told(self, folder: Path, channel: str) -> list[str]:
        return [json.loads(line)["event"] for line in (folder / f"{channel}.log").read_text().splitlines()]

    def test_each_channel_has_its_file(self, tmp_path) -> None:
        """A line stands in its channel's file and no other's, and in the process's own log; a command in two."""
        stream = io.StringIO()
        configure_logging(LoggingOptions(), stream, tmp_path)
        structlog.get_logger("alphapanda.trading.executor").info("order submitted")
        structlog.get_logger("alphapanda.marketdata.publisher").info("feed begins")
        structlog.get_logger("alphapanda.storage.outbox").warning("slow purge")
        structlog.get_logger("alphapanda.performance.queries").warning("slow query")
        structlog.get_logger("alphapanda.mesh").warning("slow call")
        structlog.get_logger(AUDIT).info("command")
        structlog.get_logger("alphapanda.app").info("ready")
        structlog.get_logger("alphapanda.risk").error("lost")
        logging.getLogger("aiokafka").error("away")
        assert {channel: self.told(tmp_path, channel) for channel in CHANNELS} == {
            "trading": ["order submitted", "lost"],
            "market_data": ["feed begins"],
            "database": ["slow purge"],
            "performance": ["slow query"],
            "api": ["slow call", "command"],
            "audit": ["command"],
            "error": ["lost", "away"],
        }
        assert len(lines(stream)) == 9

    def test_outputs_can_be_switched_off(self, tmp_path) -> None:
        """Without the console the process's log is a file, too; without a channel or all files there are none of them."""
        stream = io.StringIO()
        quiet = channels(trading=LogChannelOptions(enabled=False))
        configure_logging(LoggingOptions(console=False, channels=quiet), stream, tmp_path)
        structlog.get_logger("alphapanda.trading").info("order submitted")
        assert stream.getvalue() == ""
        assert self.told(tmp_path, "alphapanda") == ["order submitted"]
        assert not (tmp_path / "trading.log").exists()
        configure_logging(LoggingOptions(files=False), stream, tmp_path / "none")
        structlog.get_logger("alphapanda.trading").info("order submitted")
        assert len(lines(stream)) == 1
        assert not (tmp_path / "none").exists()

    def test_what_is_kept(self, tmp_path) -> None:
        """The newest files by number, and older ones for as many days as are said: both hold."""
        now = 1_000 * DAY
        files = [Rotated(tmp_path / f"audit.log.{n}", n, now - n * DAY) for n in range(1, 12)]

        def left(**rotation: int) -> int:
            return len(files) - len([*surplus(files, LogRotation(**rotation), now)])

        assert left() == 5
        assert left(keep_files=2) == 2
        assert left(keep_days=8) == 7
        assert left(keep_files=9, keep_days=8) == 9
        assert LoggingOptions().channels["audit"].keep_days == 365
        assert LoggingOptions().channels["performance"].keep_days == 30

    def test_old_files_are_compressed(self, tmp_path) -> None:
        """Those older than a week, at the start and after a rotation, with their lines and their time; younger ones aren't."""
        for number, days in ((1, 6), (2, 8), (3, 9)):
            (tmp_path / f"audit.log.{number}").write_text(f"{days}\n")
            os.utime(tmp_path / f"audit.log.{number}", (time.time() - days * DAY,) * 2)
        (tmp_path / "audit.log.3.part").write_text("cut off")
        configure_logging(LoggingOptions(), io.StringIO(), tmp_path)
        (file,) = logging.getLogger(AUDIT).handlers
        file._compressing.join(20)
        names = sorted(file.name for file in tmp_path.glob("audit.log*"))
        assert names == ["audit.log", "audit.log.1", "audit.log.2.gz", "audit.log.3.gz"]
        assert gzip.decompress((tmp_path / "audit.log.3.gz").read_bytes()) == b"9\n"
        assert time.time() - (tmp_path / "audit.log.3.gz").stat().st_mtime > 8.9 * DAY
        structlog.get_logger(AUDIT).info("command")
        file.doRollover()
        names = sorted(file.name for file in tmp_path.glob("audit.log.*"))
        assert names == ["audit.log.1", "audit.log.2", "audit.log.3.gz", "audit.log.4.gz"]

    def test_a_file_that_is_renumbered_while_it_is_compressed_is_not_lost(self, tmp_path) -> None:
        """The compressed file takes the number that the file has by then."""
        file = tmp_path / "audit.log"
        (tmp_path / "audit.log.1").write_text("line\n")

        class Meanwhile:
            entered = 0

            def __enter__(self) -> None:
                self.entered += 1
                if self.entered == 2:
                    (tmp_path / "audit.log.1").rename(tmp_path / "audit.log.2")

            def __exit__(self, *_: object) -> None:
                return None

        assert compress_next(file, lambda _: True, Meanwhile())
        assert [path.name for path in tmp_path.iterdir()] == ["audit.log.2.gz"]
        assert not compress_next(file, lambda _: True, None)

    def test_a_channel_has_its_own_level(self, tmp_path) -> None:
        """A channel may be louder or quieter than the process's log, and changes nothing for the others."""
        stream = io.StringIO()
        settings = LoggingOptions(
            level="warning",
            channels=channels(trading=LogChannelOptions(level="debug"), api=LogChannelOptions(level="error")),
        )
        configure_logging(settings, stream, tmp_path)
        structlog.get_logger("alphapanda.trading.executor").debug("detail")
        structlog.get_logger("alphapanda.mesh").warning("slow call")
        structlog.get_logger("alphapanda.strategy").info("quiet")
        assert self.told(tmp_path, "trading") == ["detail"]
        assert self.told(tmp_path, "api") == []
        assert [line["event"] for line in lines(stream)] == ["slow call"]

    def test_a_file_is_set_aside_at_its_size(self, tmp_path) -> None:
        """A file that reaches its size goes on as a new one; no more than the kept count lie about."""
        settings = LoggingOptions(channels=channels(audit=LogChannelOptions(max_megabytes=1, keep_files=2)))
        configure_logging(settings, io.StringIO(), tmp_path)
        for _ in range(45):
            structlog.get_logger(AUDIT).info("command", reason="x" * 100_000)
        assert sorted(file.name for file in tmp_path.glob("audit.log*")) == [
            "audit.log",
            "audit.log.1",
            "audit.log.2",
        ]
        assert all(file.stat().st_size <= 1_000_000 for file in tmp_path.glob("audit.log*"))

    def test_a_line_of_a_file_is_formatted_once(self, tmp_path, monkeypatch) -> None:
        """Whether a line still fits into its file is asked of the line that is then written."""
        configure_logging(LoggingOptions(), io.StringIO(), tmp_path)
        (file,) = logging.getLogger(AUDIT).handlers
        formatted = []
        monkeypatch.setattr(file.formatter, "format", lambda record: formatted.append(record) or "line")
        structlog.get_logger(AUDIT).info("command")
        assert len(formatted) == 1
        assert (tmp_path / "audit.log").read_text() == "line\n"

    def test_a_file_is_set_aside_with_the_day(self, tmp_path) -> None:
        """The first line of another day in India begins a new file, and so does the first after a restart."""
        # Of this week: what is older than the retention is deleted as the next file is begun.
        today = datetime.fromtimestamp(time.time(), timezone(timedelta(hours=5, minutes=30)))
        midnight = today.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() - 2 * DAY
        for configured_at in (midnight - 7200, midnight + 86_400):
            configure_logging(LoggingOptions(), io.StringIO(), tmp_path)
            (file,) = logging.getLogger(AUDIT).handlers
            for after in (0, 7199, 7200, 7201):
                record = logging.LogRecord(AUDIT, logging.INFO, "", 0, f"{after}", (), None)
                record.created = configured_at + after
                file.handle(record)
                os.utime(tmp_path / "audit.log", (record.created, record.created))
        said = [
            [json.loads(line)["event"] for line in (tmp_path / name).read_text().splitlines()]
            for name in ("audit.log.2", "audit.log.1", "audit.log")
        ]
        assert said == [["0", "7199"], ["7200", "7201"], ["0", "7199", "7200", "7201"]]
        assert len(list(tmp_path.glob("audit.log*"))) == 3

    @pytest.mark.parametrize("stream", [io.StringIO(), None], ids=["beside a terminal", "alone"])
    def test_a_file_of_an_earlier_day_is_set_aside_after_a_restart(self, tmp_path, stream) -> None:
        """A process that starts again days later begins new files; what the last one wrote is kept beside them."""
        loggers = {"audit.log": AUDIT, "trading.log": "alphapanda.trading"}
        loggers |= {} if stream else {"alphapanda.log": "alphapanda.app"}
        for name in loggers:
            (tmp_path / name).write_text("{}\n")
            os.utime(tmp_path / name, (time.time() - 2 * DAY,) * 2)
        configure_logging(LoggingOptions(), stream, tmp_path)
        for name, logger in loggers.items():
            structlog.get_logger(logger).info("again")
            assert (tmp_path / f"{name}.1").read_text() == "{}\n"
            assert self.told(tmp_path, name.removesuffix(".log"))[-1] == "again"

    def test_a_file_may_be_set_aside_at_its_size_alone(self, tmp_path) -> None:
        """Without hours a file of long ago is gone on with."""
        (tmp_path / "audit.log").write_text("{}\n")
        os.utime(tmp_path / "audit.log", (0, 0))
        configure_logging(
            LoggingOptions(channels=channels(audit=LogChannelOptions(rotate_hours=0))),
            io.StringIO(),
            tmp_path,
        )
        structlog.get_logger(AUDIT).info("command")
        assert not (tmp_path / "audit.log.1").exists()

    def test_without_a_stream_the_log_is_a_file(self, tmp_path) -> None:
        """Where a person looks at the terminal, the process's own log lies beside the channels', as JSON."""
        configure_logging(LoggingOptions(), None, tmp_path)
        structlog.get_logger("alphapanda.app").info("ready")
        assert self.told(tmp_path, "alphapanda") == ["ready"]

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path) -> None:
        """The folder and why stand in the error."""
        (tmp_path / "file").touch()
        with pytest.raises(
            InvalidInput, match=r"logging\.folder: .*/file/logs' is not allowed; a folder that"
        ):
            configure_logging(LoggingOptions(), None, tmp_path / "file" / "logs")

    def test_configured_again_nothing_is_said_twice(self, tmp_path) -> None:
        """The second configuration takes the place of the first."""
        first, second = io.StringIO(), io.StringIO()
        configure_logging(LoggingOptions(), first)
        configure_logging(LoggingOptions(), second, tmp_path)
        configure_logging(LoggingOptions(), second, tmp_path)
        structlog.get_logger("alphapanda.trading").info("once")
        assert first.getvalue() == ""
        assert len(lines(second)) == 1
        assert self.told(tmp_path, "trading") == ["once"]


def test_lines_that_a_full_disk_refuses_are_one_line_a_minute(capsys, tmp_path) -> None:
    """Standard error gets one line without a traceback: how many are lost, where, why, and what to do."""

    class Full(io.StringIO):
        name = "<stdout>"

        def fileno(self) -> int:
            return null.fileno()

        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with Path(os.devnull).open() as null:
        configure_logging(LoggingOptions(), Full(), tmp_path)
        for logger in (AUDIT, "alphapanda.trading"):
            (file,) = logging.getLogger(logger).handlers
            file.stream = Full()
        for number in range(141):
            structlog.get_logger("alphapanda.trading").info("order.submitted", number=number)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("alphapanda: 1 log line could not be written to ")
    assert "No space left on device; the work goes on; free some space" in line


def test_the_next_minute_says_how_many_lines_were_lost(capsys) -> None:
    """Each line that is lost is counted."""
    now = [0.0]
    unwritable = UnwritableLines(60.0, lambda: now[0])
    for at in (0.0, 1.0, 59.0, 60.0, 61.0):
        now[0] = at
        try:
            Path("/dev/full").write_text("a line\n", encoding="utf-8")
        except OSError:
            unwritable.failed("audit.log")
    said = [line.partition(" could")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == ["alphapanda: 1 log line", "alphapanda: 3 log lines"]


def test_a_library_that_repeats_itself_is_heard_once_a_spell() -> None:
    """Of a library's lines of a level one is let through a minute; the next says how many were suppressed."""
    now = [0.0]
    once = RepeatLimiter("aiokafka", 60.0, lambda: now[0])

    def heard(name: str, level: int = logging.ERROR) -> str | None:
        record = logging.LogRecord(name, level, "", 0, "broker %s away", ("b1",), None)
        return record.getMessage() if once.filter(record) else None

    assert heard("aiokafka.conn") == "broker b1 away"
    assert [heard("aiokafka"), heard("aiokafka.consumer")] == [None, None]
    assert heard("aiokafka", logging.WARNING) == "broker b1 away"
    assert heard("alphapanda.eventlog") == heard("aiokafkaesque") == "broker b1 away"
    now[0] = 60.0
    assert heard("aiokafka") == "broker b1 away (2 lines of aiokafka suppressed before)"
    assert heard("aiokafka") is None


def test_a_collector_that_is_away_fills_no_file_and_calls_nobody(tmp_path) -> None:
    """Its exporter's errors are one line a minute on the console, in error.log and in what the alert counts."""
    stream = io.StringIO()
    configure_logging(LoggingOptions(), stream, folder=tmp_path)
    counts = ErrorCounts()
    logging.getLogger().addHandler(counts)
    for _ in range(20):
        logging.getLogger("opentelemetry.exporter").error("Failed to export traces")
        structlog.get_logger("alphapanda.test").error("test.failed")
    for shown in (stream.getvalue(), (tmp_path / "error.log").read_text()):
        assert (shown.count("Failed to export"), shown.count("test.failed")) == (1, 20)
    assert sum(counts.by_channel.values()) == 21


def test_the_correlation_id_is_in_the_line() -> None:
    """What is being followed is named in every line, and nothing is where nothing is followed."""
    stream = configured(io.StringIO())
    before = current_correlation_id.set("c-1")
    structlog.get_logger("alphapanda.test").info("within")
    current_correlation_id.reset(before)
    structlog.get_logger("alphapanda.test").info("outside")
    assert [line.get("correlation_id") for line in lines(stream)] == ["c-1", None]


def test_a_line_names_its_service_and_broker() -> None:
    """The service that works, else the room of the logger, else the process; what a line says itself stands."""
    stream = io.StringIO()
    configure_logging(LoggingOptions(), stream, service="up")
    log = structlog.get_logger("alphapanda.storage.engine")
    log.info("of the process")
    structlog.get_logger("alphapanda.risk.consumer").info("of a room")
    service, broker = current_service.set("trading"), current_broker.set("paper")
    log.info("of a service at work")
    logging.getLogger("library").error("for a service")
    log.info("said", service="portfolio", broker="zerodha")
    current_service.reset(service)
    current_broker.reset(broker)
    assert [(line["service"], line.get("broker")) for line in lines(stream)] == [
        ("up", None),
        ("risk", None),
        ("trading", "paper"),
        ("trading", "paper"),
        ("portfolio", "zerodha"),
    ]


def test_bound_context_is_in_the_line() -> None:
    """Context variables of structlog are merged."""
    stream = configured(io.StringIO())
    with structlog.contextvars.bound_contextvars(broker="paper"):
        structlog.get_logger("alphapanda.test").info("within")
    assert lines(stream)[0]["broker"] == "paper"


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_traceback_has_no_secret(format_) -> None:
    """An exception that quotes a URL with a password is logged without it, from either kind of logger."""
    stream = configured(io.StringIO(), format=format_)
    error = ConnectionError("postgresql://panda:hunter2@db:5432/panda is away")
    structlog.get_logger("alphapanda.test").error("failed", exc_info=error)
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


def test_a_long_word_is_read_in_no_time() -> None:
    """A megabyte without a space takes as long as its letters, not as long as their square."""
    for word in ("x" * 1_000_000, "x" * 1_000_000 + ":"):
        assert redacted(word) == word


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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("password: too short, at least 12 characters", "password: too short, at least 12 characters"),
        ("symbol: 'Bearer hunter2' is not allowed", "symbol: 'Bearer [redacted]' is not allowed"),
        ("redis://:hunter2@cache is away", "redis://:[redacted]@cache is away"),
    ],
)
def test_a_caller_is_told_no_credentials(text, told) -> None:
    """An error's text for a caller has no token and no password, and still names the field that is wrong."""
    assert without_credentials(text) == told


def test_what_no_thread_caught_is_a_line_of_the_log(capfd, monkeypatch) -> None:
    """Its traceback goes where all others go, without secrets, and not to standard error."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    stream = configured(io.StringIO())
    log_uncaught()

    def fails() -> None:
        raise OSError("redis://:hunter2@cache is away")

    class Broken:
        def __del__(self) -> None:
            fails()

    thread = threading.Thread(target=fails, name="a thread")
    thread.start()
    thread.join()
    Broken()
    assert [line["event"] for line in lines(stream)] == ["thread.failed", "error.not_raised"]
    assert lines(stream)[0]["task"] == "a thread"
    assert "hunter2" not in stream.getvalue()
    assert capfd.readouterr().err == ""
