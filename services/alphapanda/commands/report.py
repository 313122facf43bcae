"""`alphapanda report`: what came of trading: report slippage compares live fills with paper's."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import click
from rich.console import Group, RenderableType
from rich.text import Text

from alphapanda.commands.asking import ListsByDefault, ask, asks, show
from alphapanda.commands.audit import WHEN, moment_of
from alphapanda.commands.console import warn
from alphapanda.commands.finding import Target
from alphapanda.commands.tables import figures, row, side, table
from alphapanda.commands.wording import (
    DOWN,
    IST,
    UP,
    amount,
    count,
    gain,
    market_moment,
    rupees,
    shown_time,
    word,
)
from panda.portfolio.v1.portfolio_pb2 import ReportSlippageRequest, ReportSlippageResponse


@click.group(cls=ListsByDefault)
def report() -> None:
    """Report what came of trading."""


@report.command("slippage")
@click.option("--broker", default="", help="whose fills are measured  [default: the only one beside paper]")
@click.option("--account", default="", help="[default: default]")
@click.option("--against", default="paper", show_default=True, help="the broker to measure against")
@click.option("--strategy", default="", help="only this strategy's")
@click.option("--since", default="", metavar="WHEN", help=f"not before {WHEN}; market time")
@click.option("--until", default="", metavar="WHEN", help="before that")
@click.option("--limit", type=click.IntRange(0, 1000), default=0, help="most pairs  [default: 100]")
@asks
def slippage(
    broker: str,
    account: str,
    against: str,
    strategy: str,
    since: str,
    until: str,
    limit: int,
    target: Target,
    *,
    as_json: bool,
) -> None:
    """Compare what the same signals got at a live broker and on paper, pair by pair, newest first."""
    request = ReportSlippageRequest(
        broker=broker, account=account, shadow_broker=against, strategy_id=strategy, limit=limit
    )
    for name, given in (("since", since), ("until", until)):
        if given:
            getattr(request, name).FromDatetime(moment_of(f"--{name}", given, datetime.now(IST)))
    answer = ask(target, lambda services: services.portfolio.ReportSlippage(request))
    show(answer, as_json=as_json, table=lambda: _report(answer))
    if answer.incomplete:
        warn(answer.incomplete)


def _report(answer: ReportSlippageResponse) -> RenderableType:
    cost = amount(answer, "cost")
    sums = figures(
        [
            (f"{answer.broker} against {answer.shadow_broker}:", f"{count(answer.pair_count)} pairs"),
            ("cost", _cost(cost, alone=True)),
            ("bp", rupees(amount(answer, "basis_points"))),
            (f"only {answer.broker}", count(answer.only_live)),
            (f"only {answer.shadow_broker}", count(answer.only_shadow)),
        ]
    )
    if not answer.pairs:
        return sums
    made = table(
        "time",
        "strategy",
        "symbol",
        "order",
        f">{answer.broker}",
        f">{answer.shadow_broker}",
        ">per unit",
        ">bp",
        ">cost",
        ">late by",
    )
    for pair in answer.pairs:
        at, shadow_at = market_moment(pair.live, "last_at"), market_moment(pair.shadow, "last_at")
        per_unit, cost = amount(pair, "per_unit"), amount(pair, "cost")
        row(
            made,
            shown_time(at),
            pair.strategy_id,
            pair.symbol,
            side(f"{word(pair, 'side')} {count(pair.live.quantity)}/{count(pair.shadow.quantity)}"),
            rupees(amount(pair.live, "average_price")),
            rupees(amount(pair.shadow, "average_price")),
            _cost(per_unit),
            rupees(amount(pair, "basis_points")),
            _cost(cost),
            "" if at is None or shadow_at is None else f"{(at - shadow_at).total_seconds():.1f} s",
        )
    note = Text(
        "order: units of both; red, above 0: it cost more, or brought less, than at the shadow", style="dim"
    )
    return Group(sums, "", made, "", note)


def _cost(value: Decimal | None, *, alone: bool = False) -> Text:
    """A cost: red where it is one, green where it is below 0."""
    shown = gain(value, alone=alone)
    if value:
        shown.style = DOWN if value > 0 else UP
    return shown
