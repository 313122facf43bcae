"""`alphapanda audit`: who gave which command, from where, and what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import click
from rich.table import Table
from rich.text import Text

from alphapanda.commands.asking import ask, asks, page, pages, show
from alphapanda.commands.console import USAGE, fail
from alphapanda.commands.finding import Target
from alphapanda.commands.tables import row, table
from alphapanda.commands.wording import DOWN, IST, count, market_moment, shown_time
from alphapanda.telemetry.visible import on_one_line
from panda.ops.v1.ops_pb2 import AuditEntry, ListAuditEntriesRequest

TIME: Final = "%d %b %H:%M:%S"
LONGEST: Final = 100
"""Characters of a request, a change or a message that a table shows; --json shows all that was kept."""

NOTHING: Final = "nothing"
BOOKKEEPING: Final = frozenset({"changed_at", "changed_by", "revision"})
"""What changes with every command and says nothing that its line doesn't say; --json has it."""

_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
WHEN: Final = "2h, 30m or 7d ago, or a day or time in India such as 2026-11-30 or 2026-11-30T09:15"


@click.command()
@click.option("--caller", default="", help="only commands of this caller")
@click.option("--method", default="", help="only this command, such as SetKillSwitch or PlaceOrder")
@click.option("--outcome", default="", help="OK, a status such as PERMISSION_DENIED, or none: not known")
@click.option("--correlation", default="", metavar="ID", help="only what belongs to this correlation id")
@click.option("--since", default="", metavar="WHEN", help=f"not before {WHEN}")
@click.option("--until", default="", metavar="WHEN", help="before that")
@pages
@asks
def audit(
    caller: str,
    method: str,
    outcome: str,
    correlation: str,
    since: str,
    until: str,
    page_size: int,
    page_token: str,
    target: Target,
    *,
    as_json: bool,
) -> None:
    """Show who gave which command, from where, and what came of it; refused ones too, newest first."""
    request = ListAuditEntriesRequest(
        caller=caller,
        method=method,
        outcome=outcome,
        correlation_id=correlation,
        page_size=page_size,
        page_token=page_token,
    )
    for name, given in (("since", since), ("until", until)):
        if given:
            getattr(request, name).FromDatetime(moment_of(f"--{name}", given, datetime.now(IST)))
    answer = ask(target, lambda services: services.ops.ListAuditEntries(request))
    show(
        answer,
        as_json=as_json,
        table=lambda: page(
            entries_table(answer.entries) if answer.entries else "no commands match", answer.next_page_token
        ),
    )


def moment_of(option: str, given: str, now: datetime) -> datetime:
    """Reads a time: so long before now, or a day or time in India; a wrong one ends the command."""
    if ago := _AGO.fullmatch(given):
        return (now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).astimezone(UTC)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        fail(f"{option}: {given!r} is not allowed; {WHEN}", USAGE)
    return (moment if moment.tzinfo else moment.replace(tzinfo=IST)).astimezone(UTC)


def entries_table(entries: Iterable[AuditEntry]) -> Table:
    """Commands, newest first: when, who, what, what came of it."""
    made = table("time (IST)", "caller", "from", "command", "outcome", ">calls", "")
    for one in entries:
        row(
            made,
            shown_time(market_moment(one, "started_at"), TIME),
            one.caller,
            Text(one.peer.partition(":")[2] or one.peer, style="dim"),
            one.method.removeprefix("alphapanda ").rpartition("/")[2],
            _outcome(one),
            count(one.calls) if one.calls > 1 else "",
            Text(_about(one), style="dim"),
        )
    return made


def _outcome(entry: AuditEntry) -> Text:
    if not entry.outcome:
        return Text("not known", style="yellow")
    return Text(entry.reason or entry.outcome, style="" if entry.outcome == "OK" else DOWN)


def _about(entry: AuditEntry) -> str:
    """Why it was refused, what it changed, and what else it asked for, lists last; of what it made, what it asked for."""
    asked = json.loads(entry.request or "{}")
    asked.pop("request_id", None)
    before, after = json.loads(entry.before or "{}"), json.loads(entry.after or "{}")
    made_anew = not entry.before
    changed = (
        [] if made_anew else [name for name in dict.fromkeys([*before, *after]) if name not in BOOKKEEPING]
    )
    changes = [
        f"{name} {_plain(before.get(name, NOTHING))} → {_plain(after.get(name, NOTHING))}" for name in changed
    ]
    rest = sorted(
        (name for name in asked if name not in changed), key=lambda name: isinstance(asked[name], dict | list)
    )
    told = ", ".join(f"{name}={_plain(asked[name])}" for name in rest)
    return "; ".join(_cut(part) for part in (entry.message, ", ".join(changes), told) if part)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    shown = on_one_line(text)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
