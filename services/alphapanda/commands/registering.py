"""`alphapanda instruments …`: what its commands do with the registry of instruments."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal, InvalidOperation
from heapq import nsmallest
from pathlib import Path

import click
from google.protobuf.json_format import MessageToDict, MessageToJson
from rich.table import Table

from alphapanda.app import clocks
from alphapanda.app.instruments import known_instruments, registry_of
from alphapanda.commands.asking import ask, new_request_id
from alphapanda.commands.console import USAGE, fail, out, refuse, warn, wide, working
from alphapanda.commands.finding import Target
from alphapanda.contract.wire import decimal
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.instruments.core import shipped_facts, shipped_instruments
from alphapanda.instruments.importing import Wanted, add_instrument, import_file
from alphapanda.instruments.search import normalised, search_key, search_rank
from alphapanda.instruments.store.port import sort_key
from alphapanda.instruments.wire import instrument_from, instrument_message
from alphapanda.settings.model import Settings
from alphapanda.settings.sources import SettingsInvalid, load_settings
from panda.instruments.v1 import instruments_pb2 as api

SHOWN_REFUSALS = 5
PACKED_FROM = 100_000
"""Bytes from which on a file is packed before it is sent."""
MOST_BYTES = 3 * 1024 * 1024
"""As the contract has it."""
WHEN_THERE = "its instruments service knows them now, the other services within seconds"
WHEN = "replay knows them at once, a running platform on this machine within seconds"


def run_list(exchange: str, prefix: str, limit: int, config: Path | None, *, as_json: bool) -> None:
    """Lists known instruments."""
    with _told():
        wanted = [
            one
            for one in _all(_settings(config))
            if exchange in ("", one.exchange)
            and (one.tradingsymbol.startswith(prefix) or one.symbol.startswith(prefix))
        ]
    _show_all(sorted(wanted, key=sort_key), limit, as_json=as_json)


def run_search(query: str, exchange: str, limit: int, config: Path | None, *, as_json: bool) -> None:
    """Lists the instruments that match a query, best first."""
    wanted = normalised(query)
    with _told():
        ranked = [
            (search_key(rank, one), one)
            for one in _all(_settings(config))
            if exchange in ("", one.exchange) and (rank := search_rank(wanted, one)) is not None
        ]
    best = [one for _, one in nsmallest(limit, ranked, key=lambda each: each[0])]
    _show_all(best, limit, as_json=as_json, more=len(ranked) - len(best))


def run_show(symbol: str, config: Path | None, *, as_json: bool) -> None:
    """Shows one instrument."""
    with _told():
        found = known_instruments(_settings(config), clocks.today()).require_symbol(symbol, "symbol")
    _show_one(found, as_json=as_json)


def run_import(
    file: Path, day: date | None, config: Path | None, *, allow_drops: bool, as_json: bool
) -> None:
    """Imports a file and says in one line what came of it."""
    with _told(), working(f"importing {file.name}"):
        registry = registry_of(_settings(config))
        on = day or clocks.today()
        imported = import_file(
            registry, shipped_instruments(on), file, on, shipped_facts(), allow_refusals=allow_drops
        )
    refused = imported.file.refused
    for refusal in refused[:SHOWN_REFUSALS]:
        warn(f"refused: {refusal}")
    if len(refused) > SHOWN_REFUSALS:
        warn(f"refused: {len(refused) - SHOWN_REFUSALS:,} more")
    merge = imported.merge
    if as_json:
        counts = {
            "form": imported.file.form,
            "added": merge.added,
            "changed": merge.changed,
            "ended": merge.ended,
            "unchanged": merge.unchanged,
            "refused": len(refused),
            "left_out": dict(imported.file.left_out),
        }
        click.echo(json.dumps(counts, indent=2))
        return
    click.echo(imported.in_one_line)
    if merge.stored:
        click.echo(WHEN)


def run_import_there(
    target: Target, file: Path, day: date | None, *, allow_drops: bool, as_json: bool
) -> None:
    """Has a running platform import a file; says in one line what came of it."""
    with _told():
        request = api.ImportInstrumentsRequest(
            request_id=new_request_id(),
            content=_packed(file),
            file_name=file.name,
            day=day.isoformat() if day else "",
            allow_refusals=allow_drops,
        )
    with working(f"importing {file.name}"):
        answer = ask(target, lambda services: services.instruments.ImportInstruments(request))
    for refusal in answer.first_refusals:
        warn(f"refused: {refusal}")
    if answer.refused > len(answer.first_refusals):
        warn(f"refused: {answer.refused - len(answer.first_refusals):,} more")
    if as_json:
        names = ("form", "added", "changed", "ended", "unchanged", "refused")
        click.echo(json.dumps({name: getattr(answer, name) for name in names}, indent=2))
        return
    click.echo(
        f"{answer.form}: {answer.added:,} added, {answer.changed:,} changed, {answer.ended:,} ended,"
        f" {answer.unchanged:,} unchanged, {answer.refused:,} refused"
    )
    if answer.added or answer.changed or answer.ended:
        click.echo(WHEN_THERE)


def run_add_there(
    target: Target,
    symbol: str,
    name: str | None,
    lot: int | None,
    tick: str | None,
    expiry: date | None,
    *,
    index: bool,
    as_json: bool,
) -> None:
    """Has a running platform add one instrument, and shows it."""
    with _told():
        price_step = _rupees(tick)
        request = api.AddInstrumentRequest(
            request_id=new_request_id(),
            symbol=symbol,
            name=name or "",
            lot_size=lot or 0,
            tick_size=None if price_step is None else decimal(price_step),
            expiry=expiry.isoformat() if expiry else "",
            index=index,
        )
    answer = ask(target, lambda services: services.instruments.AddInstrument(request))
    _show_one(instrument_from(answer.instrument), as_json=as_json)


def _packed(file: Path) -> bytes:
    """The content of a file, packed if it isn't and is large.

    Raises:
        InvalidInput: it can't be read, or is too large for one request.
    """
    try:
        content = file.expanduser().read_bytes()
    except OSError as error:
        raise InvalidInput("file", file, f"a readable file ({error.strerror})") from None
    if len(content) > PACKED_FROM and not content.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        content = gzip.compress(content)
    if len(content) > MOST_BYTES:
        allowed = f"at most {MOST_BYTES:,} bytes packed; import it in parts, each with the header line"
        raise InvalidInput("file", file, allowed)
    return content


def run_add(
    symbol: str,
    name: str | None,
    lot: int | None,
    tick: str | None,
    expiry: date | None,
    config: Path | None,
    *,
    index: bool,
    as_json: bool,
) -> None:
    """Adds one instrument and shows it."""
    with _told():
        wanted = Wanted(symbol, name, lot, _rupees(tick), expiry, index)
        registry = registry_of(_settings(config))
        made = add_instrument(
            registry, shipped_instruments(clocks.today()), wanted, clocks.today(), shipped_facts()
        )
    _show_one(made, as_json=as_json)


def _settings(config: Path | None) -> Settings:
    try:
        return load_settings(os.environ, config=config, dotenv=Path(".env"))
    except SettingsInvalid as error:
        refuse(error.problems)


def _all(settings: Settings) -> list[Instrument]:
    """All known instruments, each once: those of the registry, and shipped ones that it doesn't replace."""
    known = {one.instrument_id: one for one in known_instruments(settings, clocks.today())}
    known |= {one.instrument_id: one for one in registry_of(settings).current()}
    return list(known.values())


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        fail(str(error), USAGE)


def _rupees(text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        raise InvalidInput("--tick", text, "rupees as a plain decimal number, such as 0.05") from None


def _show_all(found: Sequence[Instrument], limit: int, *, as_json: bool, more: int = 0) -> None:
    shown = found[:limit]
    more = more or len(found) - len(shown)
    if as_json:
        messages = [instrument_message(one) for one in shown]
        click.echo(MessageToJson(api.ListInstrumentsResponse(instruments=messages)))
        return
    if not shown:
        out.print("no instruments")
        return
    (out if out.is_terminal else wide).print(_table(shown))
    if more:
        out.print(f"and {more:,} more: --limit {limit + more}")


def _table(shown: Iterable[Instrument]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("symbol", "name", "type", "tick", "lot", "expiry", "token"):
        table.add_column(name, justify="right" if name in ("tick", "lot", "token") else "left")
    for one in shown:
        kind = one.instrument_type if one.tradable else "index"
        cells = (one.symbol, one.name, kind, f"{one.tick_size:f}", str(one.lot_size))
        table.add_row(*cells, str(one.expiry or ""), str(one.instrument_token))
    return table


def _show_one(found: Instrument, *, as_json: bool) -> None:
    message = instrument_message(found)
    if as_json:
        click.echo(MessageToJson(message))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in MessageToDict(message, preserving_proto_field_name=True).items():
        table.add_row(name.replace("_", " "), str(value["value"] if isinstance(value, dict) else value))
    (out if out.is_terminal else wide).print(table)
