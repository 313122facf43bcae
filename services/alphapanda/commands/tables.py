"""Answers as tables; the commands and the live view show the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alphapanda.commands.wording import (
    DOWN,
    UNKNOWN,
    UP,
    amount,
    count,
    gain,
    market_moment,
    rupees,
    shown_time,
    word,
)
from panda.common.v1.common_pb2 import CHARGE_SURENESS_ASSUMED, ChargeLine
from panda.ops.v1.ops_pb2 import SERVICE_STATE_SERVING, GetStatusResponse, ServerStatus, ServiceStatus
from panda.portfolio.v1.portfolio_pb2 import Fill, Position
from panda.risk.v1.risk_pb2 import Funds, GetExposureResponse, KillSwitch, Limit, Verdict
from panda.strategy.v1.strategy_pb2 import Strategy, StrategyParameter, StrategyType
from panda.trading.v1.trading_pb2 import Order

STATE_STYLES: Final = {
    "serving": UP,
    "running": UP,
    "active": UP,
    "starting": "yellow",
    "reducing": "yellow",
    "not serving": DOWN,
    "halted": DOWN,
    "stopped": "dim",
}
STATUS_STYLES: Final = {"filled": "", "failed": DOWN, "rejected": DOWN, "cancelled": "yellow"}
OUTCOME_STYLES: Final = {"passed": UP, "failed": DOWN, "clamped": "yellow", "waived": "yellow"}
SYMBOLS_SHOWN: Final = 2


def table(*columns: str) -> Table:
    """A quiet table: ">" before a name sets its figures to the right; a column without a name may wrap."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for column in columns:
        made.add_column(
            column.removeprefix(">"),
            justify="right" if column.startswith(">") else "left",
            no_wrap=bool(column),
            overflow="fold",
        )
    return made


def row(made: Table, *cells: str | Text) -> None:
    """Adds a row; text is shown as it is, whatever it holds."""
    made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def remark(text: str, style: str, *, one_line: bool) -> Text:
    """A text at the end of a row: whole, or cut to one line."""
    return Text(text, style=style, no_wrap=one_line, overflow="ellipsis" if one_line else "fold")


def state(text: str) -> Text:
    """A state, with a coloured dot before it."""
    return Text(f"● {text or UNKNOWN}", style=STATE_STYLES.get(text, "yellow"))


def services_table(
    services: Iterable[ServiceStatus], rates: Mapping[str, float] | None = None, *, one_line: bool = False
) -> Table:
    """Services with the records they handled, or with their rates a second where known."""
    made = table("service", "state", ">handled" if rates is None else ">a second", ">lag", ">outbox", "")
    for service in services:
        handled = sum(consumer.processed for consumer in service.consumers)
        pace = count(handled) if rates is None else count(rates.get(service.service, 0.0))
        row(
            made,
            service.service,
            state(word(service, "state")),
            pace if service.consumers else "",
            backlog(sum(consumer.lag for consumer in service.consumers)) if service.consumers else "",
            backlog(service.outbox_unpublished),
            _trouble(service, one_line=one_line),
        )
    return made


def servers_lines(servers: Iterable[ServerStatus]) -> list[Text]:
    """A line for each server that ended since the start: what ended it, when, and whether it serves again."""
    return [
        Text(
            f"{one.server} {_restarted(one)} {one.last_error}"
            f" ({shown_time(market_moment(one, 'last_error_at'), '%d %b %H:%M:%S IST')})",
            style="yellow" if one.state == SERVICE_STATE_SERVING else DOWN,
        )
        for one in servers
        if one.last_error
    ]


def _restarted(server: ServerStatus) -> str:
    if server.state != SERVICE_STATE_SERVING:
        return "does not serve:"
    times = "once" if server.restarts == 1 else f"{server.restarts} times"
    return f"serves again, was restarted {times}, last because"


def _trouble(service: ServiceStatus, *, one_line: bool) -> Text:
    dead = sum(consumer.dead_lettered for consumer in service.consumers)
    parked = sum(consumer.parked for consumer in service.consumers)
    troubles = [
        text
        for text in (
            "" if service.last_error_over else with_time(service),
            f"{count(parked)} keys parked" if parked else "",
            f"{count(dead)} dead letters" if dead else "",
        )
        if text
    ]
    if troubles:
        return remark("; ".join(troubles), DOWN, one_line=one_line)
    if service.last_error:
        return remark(f"over: {with_time(service)}", "dim", one_line=one_line)
    off = ", ".join(broker.broker for broker in service.brokers if broker.mode == "off")
    return remark(f"{off} off" if off else "", "dim", one_line=one_line)


def with_time(service: ServiceStatus) -> str:
    """The last error of a service with its time: when it was, or since when it lasts; empty where there was none."""
    at = market_moment(service, "last_error_at")
    if not service.last_error or at is None:
        return service.last_error
    return f"{service.last_error} ({'at' if service.last_error_over else 'since'} {shown_time(at)})"


def alarms(status: GetStatusResponse) -> list[str]:
    """What a person must look at, one line each: groups too far behind, and keys parked after a bug."""
    behind = [
        f"{alarm.group} is {count(alarm.lag)} records behind on {alarm.topic}; {count(alarm.allowed)} are allowed"
        for alarm in status.lag_alarms
    ]
    parked = [
        f"{consumer.consumer} has {count(consumer.parked)} parked keys: alphapanda dlq list --group {consumer.consumer}"
        for service in status.services
        for consumer in service.consumers
        if consumer.parked
    ]
    return behind + parked


def backlog(records: int) -> Text:
    """A number of records not handled yet; highlighted unless it is 0."""
    return Text(count(records), style="yellow" if records else "dim")


def strategies_table(strategies: Iterable[Strategy]) -> Table:
    """Strategies and whether they trade."""
    made = table("strategy", "type", "trades", ">quantity", "state", "")
    for one in strategies:
        row(
            made,
            one.strategy_id,
            Text(one.strategy_type, style="dim"),
            short_symbols(one.symbols, most=SYMBOLS_SHOWN),
            one.size or count(one.quantity),
            state(word(one, "state")),
            Text(one.note, style="dim"),
        )
    return made


def strategy_table(one: Strategy) -> RenderableType:
    """One strategy with its parameters and who changed it last."""
    at = market_moment(one, "changed_at")
    about = figures(
        [
            ("brokers", ", ".join(one.brokers) or "paper"),
            ("account", one.account),
            ("product", word(one, "product").upper()),
            ("signals valid", f"{count(one.signal_ttl_seconds)} s"),
            ("revision", f"{one.revision}, {shown_time(at)} by {one.changed_by or UNKNOWN}"),
        ]
    )
    parameters = figures((name, one.parameters[name]) for name in sorted(one.parameters))
    return Group(strategies_table([one]), parameters, about)


def types_table(one: StrategyType) -> RenderableType:
    """A strategy type: description, parameters and their allowed values."""
    sees = "closed bars" if one.on_bars else "every tick"
    title = Text(one.strategy_type, style="bold")
    reads = ", reads its position" if one.wants_position else ""
    most = count(one.most_symbols)
    some = most if one.least_symbols == one.most_symbols else f"{count(one.least_symbols)} to {most}"
    together = f", sees {some} instruments together" if one.most_symbols else ""
    title.append(
        f"  on {sees}, {count(one.warm_up)} of them before its first signal{together}{reads}", style="dim"
    )
    made = table("parameter", ">default", "allowed", "")
    for parameter in one.parameters:
        row(made, parameter.name, parameter.default_value, _allowed(parameter), parameter.description)
    return Group(title, Text(one.description), made)


def _allowed(parameter: StrategyParameter) -> str:
    if parameter.choices:
        return ", ".join(parameter.choices)
    kind = word(parameter, "kind")
    bounds = [
        f"{'>' if parameter.minimum_excluded else '>='} {parameter.minimum}" if parameter.minimum else "",
        f"{'<' if parameter.maximum_excluded else '<='} {parameter.maximum}" if parameter.maximum else "",
    ]
    return ", ".join([kind, *filter(None, bounds)])


def short_symbols(symbols: Sequence[str], *, most: int) -> str:
    """The first of them, and how many more there are."""
    more = len(symbols) - most
    return ", ".join(symbols[:most]) + (f" +{more}" if more > 0 else "")


def positions_table(positions: Iterable[Position]) -> Table:
    """Positions marked at the last prices."""
    made = table(
        "symbol",
        "product",
        ">quantity",
        ">average",
        ">last",
        ">unrealised",
        ">realised",
        ">charges",
        "strategy",
    )
    for one in positions:
        row(
            made,
            one.symbol,
            Text(word(one, "product").upper(), style="dim"),
            Text(
                count(one.quantity, signed=True) if one.quantity else "0", style="" if one.quantity else "dim"
            ),
            rupees(amount(one, "average_price")),
            rupees(amount(one, "last_price")),
            gain(amount(one.profit, "unrealised_pnl")),
            gain(amount(one.profit, "realised_pnl")),
            rupees(amount(one.profit, "charges")),
            Text(one.strategy_id, style="dim"),
        )
    return made


def orders_table(orders: Iterable[Order], *, with_ids: bool = False) -> Table:
    """Orders, newest first, with their outcome."""
    made = table(
        "time", "side", ">quantity", "symbol", ">price", "status", "strategy", *(["order"] * with_ids), ""
    )
    for one in orders:
        status = word(one.state, "status")
        row(
            made,
            Text(shown_time(market_moment(one.state, "market_time")), style="dim"),
            side(word(one.state, "side")),
            filled(one),
            one.symbol,
            rupees(amount(one.state, "average_price")),
            Text(status, style=STATUS_STYLES.get(status, "yellow")),
            Text(one.state.strategy_id, style="dim"),
            *([one.state.order_id] * with_ids),
            Text(why_ended(one), style="dim"),
        )
    return made


def fills_table(fills: Iterable[Fill]) -> Table:
    """Fills with the charges booked for them, line by line."""
    made = table("time", "side", ">quantity", "symbol", ">price", ">charges", "strategy", "")
    for one in fills:
        row(
            made,
            Text(shown_time(market_moment(one, "traded_at")), style="dim"),
            side(word(one, "side")),
            count(one.quantity),
            one.symbol,
            rupees(amount(one, "price")),
            rupees(amount(one, "commission")),
            Text(one.strategy_id, style="dim"),
            Text(by_line(one.charge_lines), style="dim"),
        )
    return made


def by_line(lines: Sequence[ChargeLine]) -> str:
    """Charges by line, and which of them are at rates that nobody knows; empty where there are none."""
    if not lines:
        return ""
    shown = ", ".join(f"{line.name} {rupees(Decimal(line.amount.value))}" for line in lines)
    assumed = [line.name for line in lines if line.sureness == CHARGE_SURENESS_ASSUMED]
    if not assumed:
        return shown
    return f"{shown} (assumed rates: {'all' if len(assumed) == len(lines) else ', '.join(assumed)})"


def filled(order: Order) -> str:
    """Units ordered; "FILLED of ORDERED" where only a part has filled."""
    wanted, done = order.state.quantity, order.state.filled_quantity
    return count(wanted) if done in {0, wanted} else f"{count(done)} of {count(wanted)}"


def side(text: str) -> Text:
    """A text that begins with "buy" or "sell", in the colour of its direction."""
    return Text(text, style=UP if text.startswith("buy") else DOWN)


def why_ended(order: Order) -> str:
    """Why an order ended unexecuted; empty where it didn't."""
    return order.message or word(order, "failure_reason")


def limits_table(limits: Iterable[Limit]) -> Table:
    """Limits in force."""
    made = table("rule", "limit", ">value", "unit", "from", "by")
    for one in limits:
        whose = ", ".join(name for name in (one.strategy_id, one.instrument_id) if name)
        row(
            made,
            one.rule,
            one.name,
            one.value,
            Text(one.unit, style="dim"),
            whose or word(one, "origin"),
            one.author,
        )
    return made


def kill_switch_table(switch: KillSwitch) -> Table:
    """A kill switch, who set it and why."""
    made = table("of", "trading", ">revision", "changed", "by", "reason")
    at = market_moment(switch, "changed_at")
    row(
        made,
        " ".join(name for name in (switch.broker, switch.strategy_id, switch.account) if name),
        state(word(switch, "state")),
        str(switch.revision),
        shown_time(at) if at else "never",
        switch.changed_by,
        switch.reason,
    )
    return made


def outcome_of(verdict: Verdict) -> Text:
    """The decision in one word and one sentence."""
    if verdict.approved:
        return Text(f"approved: {word(verdict, 'side')} {count(verdict.quantity)}", style=UP)
    if verdict.waiting:
        return Text(f"waits: {verdict.message}", style="yellow")
    return Text(f"refused: {verdict.message or verdict.reason}", style=DOWN)


def verdicts_table(verdicts: Iterable[Verdict]) -> Table:
    """Verdicts, newest first, each with its decision."""
    made = table("time", "instrument", "strategy", "signal", "")
    for one in verdicts:
        row(
            made,
            Text(shown_time(market_moment(one, "decided_at")), style="dim"),
            one.instrument_id,
            Text(one.strategy_id, style="dim"),
            one.signal_id,
            outcome_of(one),
        )
    return made


def funds_line(funds: Funds) -> Text:
    """What entries may use, and what positions and open orders block."""
    blocked = amount(funds, "blocked")
    return figures(
        [
            ("available", rupees(amount(funds, "available"))),
            ("used margin", rupees(amount(funds, "used_margin"))),
            *([("blocked by orders", rupees(blocked))] if blocked else []),
            ("balance", rupees(amount(funds, "balance"))),
        ]
    )


def exposure_table(answer: GetExposureResponse) -> RenderableType:
    """Positions and open orders by instrument, and the day's counters."""
    about = figures(
        [
            ("gross", rupees(amount(answer, "gross"))),
            ("net", rupees(amount(answer, "net"))),
            ("open orders", count(answer.open_orders)),
            ("trades today", count(answer.trades)),
            ("realised", gain(amount(answer, "realised"))),
            ("unrealised", gain(amount(answer, "unrealised"))),
        ]
    )
    made = table("instrument", ">held", ">in flight", ">most", ">last", ">gross", ">net")
    for one in answer.instruments:
        row(
            made,
            one.instrument_id,
            count(one.held, signed=True) if one.held else "0",
            count(one.in_flight, signed=True) if one.in_flight else "0",
            count(one.most),
            rupees(amount(one, "last_price")),
            rupees(amount(one, "gross")),
            rupees(amount(one, "net")),
        )
    funds = [funds_line(answer.funds)] if answer.HasField("funds") else []
    tripped = [Text(f"only exits for the rest of the day: {answer.tripped}", style=DOWN)] * bool(
        answer.tripped
    )
    return Group(about, *funds, *tripped, "", made if answer.instruments else "nothing is held or on its way")


def rules_table(verdict: Verdict) -> Table:
    """Results of all rules, each with its limit and the observed value."""
    made = table("rule", "said", "limit", "observed", "")
    for rule in verdict.rules:
        said = word(rule, "outcome")
        row(
            made,
            rule.rule,
            Text(said, style=OUTCOME_STYLES.get(said, "dim")),
            rule.limit,
            rule.observed,
            rule.message,
        )
    return made


def figures(pairs: Iterable[tuple[str, str | Text]]) -> Text:
    """Named figures on one line."""
    line = Text()
    for name, value in pairs:
        line.append("   " if line else "").append(f"{name} " if name else "", style="dim").append(value)
    return line
