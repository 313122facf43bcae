"""Strategies and their types as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alphapanda.commands.tables import figures, row, state, table
from alphapanda.commands.wording import (
    UNKNOWN,
    count,
    market_moment,
    shown_time,
    word,
)
from panda.strategy.v1.strategy_pb2 import Strategy, StrategyParameter, StrategyType

SYMBOLS_SHOWN: Final = 2


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
    """The first `most` symbols, and how many more there are."""
    more = len(symbols) - most
    return ", ".join(symbols[:most]) + (f" +{more}" if more > 0 else "")
