"""Limits, kill switches, verdicts and exposure as tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alphapanda.commands.tables import figures, row, state, table
from alphapanda.commands.wording import (
    DOWN,
    UP,
    amount,
    count,
    gain,
    market_moment,
    rupees,
    shown_time,
    word,
)
from panda.risk.v1.risk_pb2 import Funds, GetExposureResponse, KillSwitch, Limit, LiveAccount, Verdict
from panda.trading.v1.trading_pb2 import BrokerRouting

REQUIRED: Final = ("max_order_value", "max_daily_loss", "max_daily_trades")
"""The limits that a live account needs, in the order of their columns."""

OUTCOME_STYLES: Final = {"passed": UP, "failed": DOWN, "clamped": "yellow", "waived": "yellow"}


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


def live_accounts_table(accounts: Iterable[LiveAccount]) -> Table:
    """Live accounts: armed or not, by whom, and the limits without which they take no entries."""
    made = table("broker", "account", "entries", "day", *(f">{name}" for name in REQUIRED), "by", "reason")
    for one in accounts:
        values = {limit.name: limit.value for limit in one.limits}
        row(
            made,
            one.broker,
            one.account,
            Text(one.why_not, style="yellow") if one.why_not else Text("armed", style=UP),
            one.day or "unknown",
            *(values.get(name, "") for name in REQUIRED),
            one.changed_by,
            one.reason,
        )
    return made


def routing_table(brokers: Iterable[BrokerRouting]) -> Table:
    """Which brokers orders go to, and who switched them."""
    made = table("broker", "orders", "changed", "by", "reason")
    for one in brokers:
        if one.routed:
            state_ = Text("go there", style=UP)
        else:
            state_ = Text("switched off" if one.allowed else "off by the settings", style="yellow")
        at = market_moment(one, "changed_at")
        row(made, one.broker, state_, shown_time(at) if at else "never", one.changed_by, one.reason)
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
