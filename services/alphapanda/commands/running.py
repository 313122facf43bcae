"""`alphapanda up`: starts everything on this machine, shows fills and profit, stops at Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from alphapanda.app.clocks import wall_clock
from alphapanda.app.descriptors import TooFewDescriptors
from alphapanda.app.embedded import Embedded, PreflightFailed
from alphapanda.app.local_auth import auth_off
from alphapanda.app.options import logging_options
from alphapanda.app.up_options import UpOptions
from alphapanda.commands.console import USAGE, fail, out, refuse, warn
from alphapanda.commands.demo_exchange import BROKER, DemoExchange, demo_directory, with_own_instruments
from alphapanda.commands.live.embedded import EmbeddedView
from alphapanda.commands.start_checks import show_checks
from alphapanda.commands.stopping import started, stopped
from alphapanda.commands.summary import Summary, summary_lines, summary_of
from alphapanda.commands.ticker import Ticker
from alphapanda.commands.wording import IST
from alphapanda.domain.calendar import CalendarNotCovered
from alphapanda.domain.errors import InvalidInput
from alphapanda.embedded.errors import EmbeddedError, ServerLost
from alphapanda.embedded.layout import Layout, default_data_directory
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.marketdata.feeds.pace import parsed_speed
from alphapanda.mesh.security import ChannelSecurity
from alphapanda.mesh.server import PortInUse
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line
from alphapanda.settings.model import Settings
from alphapanda.settings.sources import SettingsInvalid, read_settings
from alphapanda.telemetry.logs import MAIN_FILE, configure_logging
from alphapanda.telemetry.uncaught import log_uncaught

REFUSALS = (
    EmbeddedError,
    PreflightFailed,
    PortInUse,
    TooFewDescriptors,
    InvalidInput,
    CalendarNotCovered,
    LogUnavailable,
)
SERVICE = "up"
"""What log lines name that belong to no service."""

_log = structlog.get_logger(__name__)


def run_up(
    demo: bool,
    feed: str,
    instrument: str | None,
    speed: str | None,
    record: Path | None,
    port: int | None,
    data_dir: Path | None,
    fresh: bool,
    config: Path | None,
    *,
    allow_drops: bool,
    auth: bool,
    plain: bool,
    exchange: DemoExchange | None = None,
) -> None:
    """Runs `alphapanda up` until Ctrl-C; an error at the start ends it with one line."""
    try:
        overrides: dict[str, Any] = {} if port is None else {"api": {"port": port}}
        if exchange is not None:
            overrides |= exchange.settings(wall_clock().astimezone(IST))
        read = read_settings(os.environ, config=config, dotenv=Path(".env"), **overrides)
    except SettingsInvalid as error:
        refuse(error.problems)
    for note in read.notes:
        warn(note)
    settings = read.settings
    try:
        wanted_speed = None if speed is None else parsed_speed(speed)
    except InvalidInput as error:
        fail(str(error), USAGE)
    usual = settings.embedded.data_dir or default_data_directory(os.environ, Path.home())
    folder = data_dir or (usual if exchange is None else demo_directory(usual))
    if exchange is not None:
        settings = with_own_instruments(settings, folder)
    options = UpOptions(
        data_dir=folder.expanduser(),
        fresh=fresh,
        feed=feed,
        instrument=instrument,
        speed=wanted_speed,
        allow_drops=allow_drops,
        record=record,
        demo=demo,
        demo_brokers=() if exchange is None else (BROKER,),
        auth=auth,
        on_progress=_progress,
        on_checked=show_checks,
        on_first_admin=_show_password,
    )
    # On a terminal the log goes to a file beside the data, so that fills and profit stay readable. Another process may
    # own the data directory until it is locked; before that nothing is logged into it.
    stream = None if out.is_terminal else sys.stdout
    configure_logging(logging_options(settings.logging), stream, service=SERVICE)
    log_uncaught()

    def on_directory(made: Layout) -> None:
        configure_logging(
            logging_options(settings.logging), stream, settings.logging.folder or made.logs, SERVICE
        )
        if exchange is not None:
            made.exchange.mkdir(exist_ok=True)
            exchange.keep_books(made.exchange / "books")

    options = replace(options, on_directory=on_directory)
    try:
        asyncio.run(_run(settings, options, exchange, viewed=out.is_terminal and not plain))
    except ServerLost as lost:
        fail(str(lost))
    except REFUSALS as error:
        _log.error("process.start_failed", error=str(error))
        fail(str(error))


async def _run(
    settings: Settings, options: UpOptions, exchange: DemoExchange | None, *, viewed: bool
) -> None:
    """Starts, waits for Ctrl-C or SIGTERM, stops."""
    embedded = Embedded(settings, options)
    asked = await started(embedded.start())
    if asked is None:
        return
    _tell_auth_off(embedded, Layout(options.data_dir.absolute()))
    ticker = Ticker(embedded, settings, on_terminal=out.is_terminal and not viewed)
    began = wall_clock()
    log, security = _log_file(settings, options), embedded.security.own
    view = EmbeddedView(embedded.target, settings.account, out, log, security)
    try:
        async with _demo(exchange, embedded.target, security, view.say if viewed else _said_once()):
            await ticker.start()
            if viewed:
                view.start()
            feed = embedded.feeding.task if embedded.feeding else None
            supervision = embedded.supervision
            if feed is not None:
                await asyncio.wait([feed, asked, *supervision], return_when=asyncio.FIRST_COMPLETED)
                if feed.done():
                    feed.result()
                    ticker.feed_finished()
                    if embedded.feeding is not None and embedded.feeding.hardly_used:
                        warn(embedded.feeding.hardly_used)
                    view.say("the recording has ended; the services go on answering")
            ended, _ = await asyncio.wait([asked, *supervision], return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                one.result()
    finally:
        await view.stop()
        _progress("stopping")
        end = _End(options.data_dir, ticker.fills, wall_clock() - began, embedded.data_in_words)
        error = await attempted(end.ask(embedded.target, settings.account, began, security))
        if error is not None:
            _log.warning("run.not_summarised", error=in_one_line(error))
        await ticker.stop()
        await stopped(embedded.stop(), lambda: embedded.ending, _say)
        end.report(settings)
        if options.record is not None and not options.record.exists():
            warn(f"the recording could not be finished; what there is of it: {options.record}.part")
        elif options.record is not None and out.is_terminal:
            out.print(f"recorded in {options.record}", markup=False, soft_wrap=True)
        _log.info("process.stopped")


def _said_once() -> Callable[[str], None]:
    """Shows a line below what is there, where it isn't the same as the last one but for its figures."""
    last = ""

    def say(text: str) -> None:
        nonlocal last
        words = "".join(character for character in text if not character.isdigit() and character != ",")
        if words != last:
            last = words
            _say(text)

    return say


def _demo(
    exchange: DemoExchange | None, target: str, security: ChannelSecurity, say: Callable[[str], None]
) -> AbstractAsyncContextManager[object]:
    """What signs in to the demo's exchange while the block runs."""
    if exchange is None:
        return nullcontext()
    from alphapanda.commands.zerodha_demo import ZerodhaDemo  # nothing of Zerodha's is imported without it

    return ZerodhaDemo(exchange, target, say, security)


@dataclass(slots=True)
class _End:
    """The end of a run: its summary is asked for while the services answer, and reported when they have stopped."""

    data_dir: Path
    fills: int
    ran: timedelta
    data: str
    summary: Summary | None = None

    async def ask(self, target: str, account: str, began: datetime, security: ChannelSecurity) -> None:
        self.summary = await summary_of(target, account, began, security)

    def report(self, settings: Settings) -> None:
        """Logs the summary; prints it on a terminal."""
        one = self.summary
        _log.info(
            "run.summarised",
            orders=None if one is None else one.orders,
            fills=self.fills,
            day_pnl=None if one is None or one.day_pnl is None else str(one.day_pnl),
            net_pnl=None if one is None or one.net_pnl is None else str(one.net_pnl),
            data_dir=str(self.data_dir),
            data=self.data,
        )
        if out.is_terminal:
            usual = settings.embedded.data_dir or default_data_directory(os.environ, Path.home())
            given = None if self.data_dir == usual.expanduser() else self.data_dir
            shortened = _shortened(self.data_dir)
            for line in summary_lines(one, self.fills, self.ran, shortened, given, self.data):
                out.print(line, markup=False, soft_wrap=True)


def _log_file(settings: Settings, options: UpOptions) -> str:
    """Path of the log file, shortened for people: "~" for the home folder."""
    file = (settings.logging.folder or Layout(options.data_dir.absolute()).logs) / MAIN_FILE
    return _shortened(file)


def _shortened(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _tell_auth_off(embedded: Embedded, layout: Layout) -> None:
    if not embedded.security.server.access.authenticates:
        message = auth_off(layout)
        _log.warning("auth.left_off", message=message)
        _say(message)


def _show_password(password: str) -> None:
    """Shows it on the terminal's error output, once; it stands in no log."""
    warn(
        f"the first administrator is `admin`, password {password} (shown this once; change it after `alphapanda login`)"
    )


def _say(text: str) -> None:
    if out.is_terminal:
        out.print(text, style="dim", markup=False, soft_wrap=True)


def _progress(text: str) -> None:
    _log.info("start.progressed", doing=text)
    if out.is_terminal:
        out.print(f"[dim]{text} …[/dim]")
