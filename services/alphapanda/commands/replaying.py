"""`alphapanda replay`: runs strategies over recorded data; prints a summary, writes a report and the fills."""

from __future__ import annotations

import json
import re
import resource
import time as wall
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from alphapanda.app.assumptions import assumptions
from alphapanda.app.collecting import collect_less
from alphapanda.app.replay import ReplayRun, WantedStrategy, build_replay, open_registry
from alphapanda.app.replay_days import WantedDays
from alphapanda.commands.console import USAGE, err, fail, warn
from alphapanda.commands.data_told import tell_of_data
from alphapanda.commands.parameters import parsed_parameters
from alphapanda.commands.replay_report import write_report
from alphapanda.commands.replay_summary import show_summary
from alphapanda.commands.sweep_options import SweepOptions
from alphapanda.commands.wording import count, things
from alphapanda.domain.calendar import CalendarNotCovered
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame
from alphapanda.domain.order_events import Filled
from alphapanda.marketdata.core.data_account import counted
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.replay.as_json import performance_json
from alphapanda.replay.curves import Curves
from alphapanda.replay.fills_csv import trades_csv
from alphapanda.replay.journal import ReplayJournal
from alphapanda.replay.performance import Performance, performance
from alphapanda.settings.sources import SettingsInvalid

SET = re.compile(
    r"(?P<type>[a-z0-9_]+)(?::(?P<parameters>[^@*]+))?(?:@(?P<symbols>[^*]+))?(?:\*(?P<quantity>[^*]+))?"
)
SHOW_EVERY = 5_000


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.2f}"


def wanted_strategy(text: str, product: str) -> WantedStrategy:
    """A strategy from `TYPE[:k=v,k=v…][@NSE:X,NSE:Y…][*QUANTITY]`.

    Raises:
        InvalidInput: it doesn't read so.
    """
    found = SET.fullmatch(text)
    if found is None:
        raise InvalidInput("--set", text, "allowed: TYPE[:k=v,k=v…][@NSE:X,NSE:Y…][*QUANTITY]")
    pairs = found["parameters"].split(",") if found["parameters"] else []
    symbols = tuple(found["symbols"].split(",")) if found["symbols"] else ()
    return WantedStrategy(found["type"], parsed_parameters(pairs), symbols, found["quantity"] or 1, product)


def run_replay(
    files: tuple[Path, ...],
    strategy: str | None,
    parameters: tuple[str, ...],
    instrument: str | None,
    quantity: str,
    product: str,
    sets: tuple[str, ...],
    own_account: str | None,
    first_day: str | None,
    last_day: str | None,
    no_limits: bool,
    limits: Path | None,
    config: Path | None,
    report: Path | None,
    trades: Path | None,
    strategies_folder: Path | None,
    fill: str | None,
    as_json: bool,
    allow_drops: bool,
    reading: Mapping[str, object],
    options: SweepOptions,
) -> None:
    """Runs `alphapanda replay`; an error ends it with one line."""
    try:
        wanted = [wanted_strategy(text, product) for text in sets]
        if strategy is not None:
            wanted.append(WantedStrategy(strategy, parsed_parameters(parameters), (), quantity, product))
        _require_wanted(wanted, options)
        for written in (report, trades, options.csv_file):
            _require_folder(written)
        own_cash = None if own_account is None else _cash(own_account)
        build = partial(
            build_replay,
            files,
            instrument=instrument,
            limits_enforced=not no_limits,
            limits=limits,
            fill=fill,
            own_account=own_cash,
            reading=reading,
            tell=warn,
            config=config,
            strategies_folder=strategies_folder,
            wanted_days=WantedDays(_day(first_day, "--from"), _day(last_day, "--to")),
            on_bad_file=lambda bad: warn(f"strategy file not loaded: {bad.text}"),
        )
        if options.asked:
            from alphapanda.commands.sweeping import SweepRequest, run_sweep

            _refuse_trades(trades)
            request = SweepRequest(files, wanted, f"{quantity}", product, report, as_json, allow_drops)
            registry = open_registry(config, strategies_folder)
            run_sweep(request, options, registry, build, lambda run: _progress(run.extent, "reading"))
            return
        summary = _run(files, wanted, build, report, trades, allow_drops=allow_drops, own_account=own_cash)
    except CalendarNotCovered as error:
        fail(f"{error}; --from and --to leave days out", USAGE)
    except (InvalidInput, SettingsInvalid) as error:
        fail(str(error), USAGE)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        show_summary(summary)


def _run(
    files: Sequence[Path],
    wanted: Sequence[WantedStrategy],
    build: Callable[..., ReplayRun],
    report: Path | None,
    trades: Path | None,
    *,
    allow_drops: bool,
    own_account: Decimal | None,
) -> dict[str, Any]:
    def on_fill(filled: Filled, realised: Decimal) -> None:
        journal.on_fill(filled, realised)

    run = build(wanted, on_fill=on_fill)
    curves = Curves() if report is not None else None
    watched = [each.instrument_token for each in run.watched]
    journal = ReplayJournal(lambda: run.replay.tracker, watched, curves)
    began = wall.perf_counter()
    with _progress(run.extent) as shown:
        collect_less()
        run.replay.run(shown(run.frames), batched=journal.batches)
    seconds = wall.perf_counter() - began
    for told in run.replay.strategy_failures():
        warn(told)
    _warn_of_orders(run)
    if run.replay.not_covered is not None:
        raise run.replay.not_covered
    tell_of_data(run, allow_drops=allow_drops)
    found = performance(
        journal,
        run.replay.starting_cash,
        run.replay.tracker.max_drawdown_fraction,
        run.calendar,
        {each.session_segment for each in run.watched},
        None if own_account is None else lambda _: own_account,
    )
    summary = summarised(run, found, seconds)
    for caveat in run.days.caveats():
        warn(caveat)
    if trades is not None:
        trades.write_text(trades_csv(journal.trades), encoding="utf-8")
    if report is not None and curves is not None:
        write_report(report, files, run, journal, curves, found, summary)
    return summary


def _warn_of_orders(run: ReplayRun) -> None:
    """Says which orders there were that came to nothing."""
    tally = run.replay.tally
    if tally.unpaid:
        entries = things(tally.unpaid, "entry was", "entries were")
        warn(f"{entries} not paid, the first: {tally.first_unpaid}")
    if tally.unsized:
        entries = things(tally.unsized, "entry", "entries")
        warn(f"{entries} came to no units, the first: {tally.first_unsized}")
    if tally.held:
        orders = things(tally.held, "order was", "orders were")
        warn(
            f"{orders} cancelled at the end of the data, which has no next bar at whose open they could fill"
        )
    if tally.expired:
        orders = things(tally.expired, "order was", "orders were")
        warn(f"{orders} cancelled: their day had no next bar at whose open they could fill")


def _cash(text: str) -> Decimal:
    try:
        cash = Decimal(text.replace(",", ""))
    except InvalidOperation:
        cash = Decimal(0)
    if not cash.is_finite() or not 0 < cash < 10**15:
        raise InvalidInput("--own-account", text, "rupees above 0, such as 1000000")
    return cash


def _day(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(option, text, "a day as YYYY-MM-DD") from None


def _require_wanted(wanted: Sequence[WantedStrategy], options: SweepOptions) -> None:
    if not wanted and not options.grids:
        raise InvalidInput(
            "--strategy", "", "name a strategy's type, several with --set, or a grid with --grid"
        )


def _refuse_trades(trades: Path | None) -> None:
    if trades is not None:
        raise InvalidInput("--trades", trades, "not with a sweep; replay the set that you want alone")


def _require_folder(file: Path | None) -> None:
    if file is not None and not file.parent.is_dir():
        raise InvalidInput("file", file, "a file in a folder that exists")


@contextmanager
def _progress(
    extent: Extent, doing: str = "replaying"
) -> Iterator[Callable[[Iterable[Frame]], Iterable[Frame]]]:
    """Shows a progress bar on a terminal: how much of the files is read, the day replayed, the time left."""
    if not err.is_terminal:
        yield lambda frames: frames
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(doing, total=None)

        def shown(frames: Iterable[Frame]) -> Iterator[Frame]:
            for number, frame in enumerate(frames):
                if number % SHOW_EVERY == 0:
                    day = f"{doing} {frame.market_time:%Y-%m-%d}, {count(number)} frames"
                    bar.update(task, description=day, total=extent.total, completed=extent.read)
                yield frame
            bar.update(task, total=extent.total, completed=extent.read)

        yield shown


def summarised(run: ReplayRun, found: Performance, seconds: float) -> dict[str, Any]:
    """The summary; all entries are the same for the same input, except the last three, which measure the run."""
    tally = run.replay.tally
    statement = run.replay.statement()
    charges = statement.profit.lines.lines
    return {
        "ticks": run.data.passed,
        "dropped": counted(run.data.dropped),
        "unused": counted(run.data.unused),
        "noted": counted(run.data.noted),
        "signals": tally.signals,
        "validated": tally.validated,
        "unpaid": tally.unpaid,
        "rejected": dict(sorted(tally.rejected.items())),
        "orders": tally.orders,
        "fills": tally.fills,
        "fill": run.replay.fill.value,
        "expired": tally.expired,
        "cancelled": tally.cancelled,
        "held": tally.held,
        "realised_pnl": _money(statement.profit.realised),
        "unrealised_pnl": _money(statement.profit.unrealised),
        "charges": _money(statement.profit.charges),
        "charges_by_line": {line.name: _money(line.amount) for line in charges},
        "charges_sureness": {line.name: line.sureness.name.lower() for line in charges if line.sureness},
        "cash": _money(statement.cash),
        "equity": _money(statement.equity),
        "max_drawdown": _money(run.replay.tracker.max_drawdown),
        **_accounts(run),
        **performance_json(
            found,
            [
                *assumptions(run.settings, len(run.replay.books), statement.profit.lines),
                *_calendar(run.days.caveats()),
            ],
        ),
        "wall_seconds": round(seconds, 6),
        "ticks_per_second": round(run.data.passed / seconds) if seconds else 0,
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _accounts(run: ReplayRun) -> dict[str, Any]:
    """What each account came to, where there are several."""
    replay = run.replay
    if len(replay.books) == 1:
        return {}
    of_each = {}
    for account, book in replay.books.items():
        statement = replay.statement(account)
        of_each[account] = {
            "starting_cash": _money(book.starting_cash),
            "cash": _money(statement.cash),
            "equity": _money(statement.equity),
            "realised_pnl": _money(statement.profit.realised),
            "unrealised_pnl": _money(statement.profit.unrealised),
            "charges": _money(statement.profit.charges),
            "net_pnl": _money(statement.profit.net),
        }
    return {"accounts": of_each}


def _calendar(caveats: Sequence[str]) -> list[tuple[str, str]]:
    return [("calendar", "; ".join(caveats))] if caveats else []
