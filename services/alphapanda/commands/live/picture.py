"""Draws the live view for a terminal's size: complete at 80 by 24, sections side by side where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alphapanda.commands.live.sections import Section, needed, stacked
from alphapanda.commands.live.view import View
from alphapanda.commands.order_tables import STATUS_STYLES, filled, why_ended
from alphapanda.commands.status_tables import alarms, backlog, servers_lines, services_table, with_time
from alphapanda.commands.strategy_tables import short_symbols
from alphapanda.commands.tables import STATE_STYLES, figures, side, state
from alphapanda.commands.wording import (
    DOWN,
    UNKNOWN,
    UP,
    amount,
    count,
    gain,
    market_moment,
    money,
    rupees,
    shown_time,
    word,
)
from alphapanda.domain.pace import MISSED, REAL
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusResponse
from panda.ops.v1.ops_pb2 import SERVICE_STATE_SERVING
from panda.portfolio.v1.portfolio_pb2 import Position
from panda.strategy.v1.strategy_pb2 import Strategy
from panda.trading.v1.trading_pb2 import Order

WIDE: Final = 150
USUAL: Final = 24
ROOMY: Final = 36
HEAD_ROWS: Final = 4
FOOT_ROWS: Final = 1
NEWEST: Final = 15
RESTART_SHOWN_SECONDS: Final = 60.0


def picture(view: View, *, now: float, width: int, height: int | None) -> RenderableType:
    """Draws the whole view.

    Args:
        view: what is known.
        now: in the seconds of the view's times.
        width: columns.
        height: rows; it fills them. None: as many as it needs, with the newest orders only.
    """
    services, rows = _services(view, in_full=height is None or height >= (USUAL if width >= WIDE else ROOMY))
    left, right = [_strategies(view), _positions(view)], _decided(view, NEWEST if height is None else None)
    if height is None:
        columns = [left, right] if width >= WIDE else [[*left, *right]]
        height = HEAD_ROWS + max(map(needed, columns)) + rows + FOOT_ROWS
    room = height - HEAD_ROWS - FOOT_ROWS
    if width >= WIDE:
        beside = Table.grid(expand=True, padding=(0, 2, 0, 0))
        beside.add_column(ratio=1)
        beside.add_column(ratio=1)
        beside.add_row(Group(*stacked(left, room - rows), services), Group(*stacked(right, room)))
        body: list[RenderableType] = [beside]
    else:
        body = [*stacked([*left, *right], room - rows), services]
    return Group(_title(view), _money(view), _pace(view), "", *body, _foot(view, now))


def plain_figures(view: View) -> str:
    """The account and the rates in one line, for output without a terminal."""
    return f"{_money(view).plain}   {_pace(view).plain}"


def _title(view: View) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    if view.portfolio is not None:
        line.append(f"{view.portfolio.broker}/{view.portfolio.account}  ", style="bold")
    market = view.market
    if market is None:
        return line.append(
            "connecting" if "market" not in view.received else "the market's clock is not known", style="dim"
        )
    at, closes = market_moment(market, "market_time"), market_moment(market, "closes_at")
    opens = market_moment(market, "next_open")
    if market.open:
        line.append(f"● {market.exchange} open", style=UP)
        line.append(f" until {closes:%H:%M}" if closes else "")
    else:
        line.append(f"● {market.exchange} closed", style="yellow")
        line.append(f" until {opens:%a %d %b %H:%M}" if opens else "")
    line.append(f"  {shown_time(at, '%a %d %b %Y %H:%M:%S')}", style="bold")
    line.append("  simulated" if market.simulated else f"  {market.feed}", style="yellow")
    return line.append(_speed(market)).append(_stream(market))


def _stream(market: GetMarketStatusResponse) -> Text:
    """What a live feed streams, or why it doesn't; nothing of any other."""
    if not market.HasField("live"):
        return Text()
    if market.live.problem:
        return Text(f"  {market.live.problem}", style=DOWN)
    return Text(f"  {count(market.live.instruments)} streamed", style="dim")


def _speed(market: GetMarketStatusResponse) -> Text:
    """The feed's pace where it isn't the market's own, and what of it is reached where it is missed."""
    if not market.HasField("speed_reached"):
        return Text()
    reached = market.speed_reached
    if not market.HasField("speed"):
        return Text(f" {count(reached)}x", style="yellow")
    missed = reached < MISSED * market.speed
    text = f" {market.speed:g}x" if market.speed != REAL or missed else ""
    return Text(
        text + (f", only {reached:.2g}x reached" if missed else ""), style=DOWN if missed else "yellow"
    )


def _money(view: View) -> Text:
    account = view.portfolio
    if account is None:
        known = "portfolio" in view.received
        return Text("the account is not known" if known else "connecting", style="dim", no_wrap=True)
    return _line(
        ("equity", Text(money(amount(account, "equity")), style="bold")),
        ("day", gain(amount(account, "day_pnl"), alone=True)),
        ("net", gain(amount(account.profit, "net_pnl"), alone=True)),
        ("cash", money(amount(account, "cash"))),
        *([("available", money(amount(account, "available")))] if account.HasField("available") else []),
    )


def _pace(view: View) -> Text:
    return _line(
        ("orders", f"{_rate(view.orders_a_minute)}/min"),
        ("fills", f"{_rate(view.fills_a_minute)}/min"),
        ("frames", f"{_rate(view.frames_a_second)}/s"),
        ("lag", UNKNOWN if view.lag is None else backlog(view.lag)),
        ("outbox", backlog(view.unpublished)),
        ("", _trading(view)),
    )


def _trading(view: View) -> Text:
    switch = "" if view.kill_switch is None else word(view.kill_switch, "state")
    if "kill switch" not in view.received:
        return Text("● connecting", style="yellow")
    said = {"": "trading not known", "active": "trading", "reducing": "only exits", "halted": "halted"}
    return Text(f"● {said.get(switch, switch)}", style=STATE_STYLES.get(switch, "yellow"))


def _rate(value: float | None) -> str:
    return UNKNOWN if value is None else count(value) if value >= 9.95 else f"{value:.1f}"  # noqa: PLR2004 - "10.0"


def _line(*pairs: tuple[str, str | Text]) -> Text:
    line = figures(pairs)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _foot(view: View, now: float) -> Text:
    away = view.away
    text, style = view.note, "dim"
    if away is not None:
        text, style = f"{away.why} (for {now - away.since:.0f} s, trying again)", DOWN
    elif view.status is not None and (raised := alarms(view.status)):
        of = f" (1 of {len(raised)})" if len(raised) > 1 else ""
        text, style = f"ALARM{of} {raised[0]}", DOWN
    elif view.troubles:
        name, trouble = next(iter(view.troubles.items()))
        text, style = f"{name}: {trouble.why}", DOWN
    elif (ended := _ended_server(view, now)) is not None:
        return ended
    elif view.errors:
        text, style = view.errors[-1], DOWN
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _ended_server(view: View, now: float) -> Text | None:
    """The line about a server that doesn't serve, or was started again within the last minute; None where none was."""
    servers = () if view.status is None else view.status.servers
    down = [one for one in servers if one.state != SERVICE_STATE_SERVING]
    lately = view.restarted_at is not None and now - view.restarted_at < RESTART_SHOWN_SECONDS
    lines = servers_lines(down or (servers if lately else ()))
    if not lines:
        return None
    line = lines[0]
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _services(view: View, *, in_full: bool) -> tuple[RenderableType, int]:
    """The table of services, and its number of rows."""
    services = () if view.status is None else view.status.services
    if in_full and services:
        return services_table(services, view.handled_a_second or None, one_line=True), len(services) + 1
    line = Text("services  ", style="dim", no_wrap=True, overflow="ellipsis")
    down = [one for one in services if one.state != SERVICE_STATE_SERVING]
    if not services:
        line.append("not known" if "services" in view.received else "connecting")
    elif len(down) < len(services):
        line.append(f"● {len(services) - len(down)} serving  ", style=UP)
    for one in down:
        said = f"● {one.service} {word(one, 'state')}" + (f": {with_time(one)}" if one.last_error else "")
        line.append(f"{said}  ", style=DOWN)
    dead = sum(consumer.dead_lettered for one in services for consumer in one.consumers)
    line.append(f"{count(dead)} dead letters" if dead else "", style=DOWN)
    return line, 1


def _strategies(view: View) -> Section:
    account = view.portfolio
    profits = {} if account is None else {one.strategy_id: one.profit for one in account.strategies}
    positions = () if account is None else account.positions
    lines = [
        (
            one.strategy_id,
            Text(one.strategy_type, style="dim"),
            short_symbols(one.symbols, most=1),
            state(word(one, "state")),
            _held([position for position in positions if position.strategy_id == one.strategy_id]),
            gain(amount(profits[one.strategy_id], "net_pnl")) if one.strategy_id in profits else _dim("0.00"),
            _dim(one.note),
        )
        for one in _running_first(view.strategies)
    ]
    columns = ("~type", "~trades", "state", ">holds", ">net P&L", "~")
    return Section(
        "strategy", columns, lines, _empty(view, "strategies", "no strategies: alphapanda strategies create")
    )


def _running_first(strategies: Sequence[Strategy]) -> list[Strategy]:
    return sorted(strategies, key=lambda one: (word(one, "state") != "running", one.strategy_id))


def _held(positions: Sequence[Position]) -> Text:
    if not positions:
        return _dim("0")
    if len(positions) > 1:
        return Text(f"{len(positions)} pos.")
    return Text(count(positions[0].quantity, signed=True))


def _positions(view: View) -> Section:
    lines = [
        (
            one.symbol,
            count(one.quantity, signed=True),
            rupees(amount(one, "average_price")),
            rupees(amount(view.quotes.get(one.symbol, one), "last_price")),
            gain(amount(one.profit, "unrealised_pnl")),
            _dim(one.strategy_id),
        )
        for one in (view.portfolio.positions if view.portfolio else ())
    ]
    columns = (">quantity", ">average", ">last", ">unrealised", "~strategy")
    return Section("position", columns, lines, _empty(view, "portfolio", "nothing is held"))


def _decided(view: View, most: int | None) -> list[Section]:
    return [_orders(view, most), _refusals(view, most)]


def _orders(view: View, most: int | None) -> Section:
    lines = [
        (
            _dim(shown_time(market_moment(one.state, "market_time"), "%H:%M:%S")),
            side(word(one.state, "side")),
            filled(one),
            one.symbol,
            rupees(amount(one.state, "average_price")),
            _status(one),
            _dim(one.state.strategy_id),
        )
        for one in view.orders[:most]
    ]
    columns = ("", ">quantity", "symbol", ">price", "~status", "~strategy")
    return Section("order", columns, lines, _empty(view, "orders", "no orders yet"), counted=False)


def _refusals(view: View, most: int | None) -> Section:
    lines = [
        (
            _dim(shown_time(market_moment(one, "decided_at"), "%H:%M:%S")),
            one.instrument_id,
            _dim(one.strategy_id),
            Text(one.message or one.reason, style=DOWN),
        )
        for one in view.refusals[:most]
    ]
    return Section(
        "refusal",
        ("", "~strategy", "~why"),
        lines,
        _empty(view, "verdicts", "nothing was refused"),
        counted=False,
    )


def _empty(view: View, source: str, text: str) -> str:
    """What an empty section says: nothing is known before the source's first answer."""
    return text if source in view.received else "connecting"


def _status(order: Order) -> Text:
    status = word(order.state, "status")
    why = why_ended(order)
    return Text(f"{status}: {why}" if why else status, style=STATUS_STYLES.get(status, "yellow"))


def _dim(text: str) -> Text:
    return Text(text, style="dim")
