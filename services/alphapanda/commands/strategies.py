"""`alphapanda strategies`: lists, creates, starts, stops, changes and deletes strategies."""

from __future__ import annotations

import re
from typing import Final

import click
from google.protobuf.field_mask_pb2 import FieldMask
from rich.console import Group, RenderableType

from alphapanda.commands.asking import ListsByDefault, ask, asks, new_request_id, page, pages, show
from alphapanda.commands.console import USAGE, fail
from alphapanda.commands.finding import Target
from alphapanda.commands.parameters import parameters_option, parsed_parameters
from alphapanda.commands.strategy_tables import strategies_table, strategy_table, types_table
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.size import units_or_size
from panda.common.v1.common_pb2 import Product
from panda.events.v1.control_pb2 import StrategyState
from panda.strategy.v1.strategy_pb2 import (
    OPEN_POSITION_FLATTEN,
    OPEN_POSITION_KEEP,
    CreateStrategyRequest,
    DeleteStrategyRequest,
    GetStrategyRequest,
    ListStrategiesRequest,
    ListStrategyTypesRequest,
    ListStrategyTypesResponse,
    StartStrategyRequest,
    StopStrategyRequest,
    Strategy,
    UpdateStrategyRequest,
)

NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9_.-]+")
PRODUCTS: Final = ("MIS", "CNC", "NRML")
QUANTITY_HELP: Final = "a full position: units (100), rupees (50000INR) or percent of the balance (10%)"


@click.group(cls=ListsByDefault)
def strategies() -> None:
    """Show strategies and their types; create, start, stop, change and delete them."""


@strategies.command("list")
@click.option("--state", type=click.Choice(["running", "stopped"]), help="only those in this state")
@pages
@asks
def list_strategies(
    state: str | None, page_size: int, page_token: str, target: Target, *, as_json: bool
) -> None:
    """List strategies by name."""
    wanted = f"STRATEGY_STATE_{(state or 'unspecified').upper()}"
    request = ListStrategiesRequest(
        state=StrategyState.Value(wanted), page_size=page_size, page_token=page_token
    )
    answer = ask(target, lambda services: services.strategy.ListStrategies(request))
    show(
        answer,
        as_json=as_json,
        table=lambda: page(
            strategies_table(answer.strategies) if answer.strategies else "no strategies",
            answer.next_page_token,
        ),
    )


@strategies.command("show")
@click.argument("strategy_id")
@asks
def show_strategy(strategy_id: str, target: Target, *, as_json: bool) -> None:
    """Show one strategy with its parameters."""
    request = GetStrategyRequest(strategy_id=strategy_id)
    answer = ask(target, lambda services: services.strategy.GetStrategy(request))
    show(answer, as_json=as_json, table=lambda: strategy_table(answer.strategy))


@strategies.command("types")
@click.argument("strategy_type", required=False)
@asks
def types(strategy_type: str | None, target: Target, *, as_json: bool) -> None:
    """Show all strategy types (or one), with their parameters and allowed values."""
    answer = ask(
        target, lambda services: services.strategy.ListStrategyTypes(ListStrategyTypesRequest(page_size=1000))
    )
    if strategy_type is not None:
        found = [one for one in answer.strategy_types if one.strategy_type == strategy_type]
        if not found:
            known = ", ".join(one.strategy_type for one in answer.strategy_types)
            fail(str(InvalidInput("TYPE", strategy_type, f"allowed: {known}")), USAGE)
        answer = ListStrategyTypesResponse(strategy_types=found)
    show(answer, as_json=as_json, table=lambda: _types(answer))


def _types(answer: ListStrategyTypesResponse) -> RenderableType:
    return Group(*(part for one in answer.strategy_types for part in (types_table(one), "")))


@strategies.command("create")
@click.argument("strategy_type", metavar="TYPE")
@click.option("--name", help="its name  [default: the type and the first instrument, rsi.infy]")
@click.option(
    "--instrument",
    "symbols",
    multiple=True,
    required=True,
    help="instrument to trade, such as NSE:INFY; may be repeated",
)
@parameters_option
@click.option("--quantity", required=True, help=QUANTITY_HELP)
@click.option("--product", type=click.Choice(PRODUCTS), default="MIS", show_default=True)
@click.option(
    "--broker", "brokers", multiple=True, help="broker to opt in to; may be repeated  [default: paper]"
)
@click.option("--account", default="", help="[default: default]")
@click.option("--ttl", type=click.IntRange(0), default=0, help="seconds a signal stays valid  [default: 60]")
@click.option("--start", "starts", is_flag=True, help="start it as well")
@asks
def create_strategy(
    strategy_type: str,
    name: str | None,
    symbols: tuple[str, ...],
    parameters: tuple[str, ...],
    quantity: str,
    product: str,
    brokers: tuple[str, ...],
    account: str,
    ttl: int,
    target: Target,
    *,
    starts: bool,
    as_json: bool,
) -> None:
    """Create a strategy, stopped: `create rsi --instrument NSE:INFY -p period=14 --quantity 10 --start`."""
    units, size = _quantity(quantity)
    request = CreateStrategyRequest(
        request_id=new_request_id(),
        strategy_id=name if name is not None else _name(strategy_type, symbols[0]),
        strategy_type=strategy_type,
        parameters=_parameters(parameters),
        symbols=symbols,
        brokers=brokers,
        account=account,
        quantity=units,
        size=size,
        product=Product.Value(f"PRODUCT_{product}"),
        signal_ttl_seconds=ttl,
    )
    created = ask(target, lambda services: services.strategy.CreateStrategy(request))
    if starts:
        _start(created.strategy.strategy_id, target, as_json=as_json)
    else:
        show(created, as_json=as_json, table=lambda: strategy_table(created.strategy))


@strategies.command("start")
@click.argument("strategy_id")
@asks
def start_strategy(strategy_id: str, target: Target, *, as_json: bool) -> None:
    """Start a strategy."""
    _start(strategy_id, target, as_json=as_json)


def _start(strategy_id: str, target: Target, *, as_json: bool) -> None:
    request = StartStrategyRequest(request_id=new_request_id(), strategy_id=strategy_id)
    answer = ask(target, lambda services: services.strategy.StartStrategy(request))
    show(answer, as_json=as_json, table=lambda: strategies_table([answer.strategy]))


@strategies.command("stop")
@click.argument("strategy_id")
@asks
def stop_strategy(strategy_id: str, target: Target, *, as_json: bool) -> None:
    """Stop a strategy; its positions are left open."""
    request = StopStrategyRequest(request_id=new_request_id(), strategy_id=strategy_id)
    answer = ask(target, lambda services: services.strategy.StopStrategy(request))
    show(answer, as_json=as_json, table=lambda: strategies_table([answer.strategy]))


@strategies.command("change")
@click.argument("strategy_id")
@parameters_option
@click.option(
    "--instrument",
    "symbols",
    multiple=True,
    help="instruments to trade from now on, all of them; may be repeated",
)
@click.option("--quantity", help=QUANTITY_HELP)
@click.option("--product", type=click.Choice(PRODUCTS))
@click.option(
    "--broker",
    "brokers",
    multiple=True,
    help="brokers to opt in to from now on, all of them; may be repeated",
)
@click.option("--ttl", type=click.IntRange(0), help="seconds a signal stays valid")
@click.option(
    "--flatten/--keep",
    "flattens",
    default=False,
    help="close its open positions or leave them open  [default: keep]",
)
@asks
def change_strategy(
    strategy_id: str,
    parameters: tuple[str, ...],
    symbols: tuple[str, ...],
    quantity: str | None,
    product: str | None,
    brokers: tuple[str, ...],
    ttl: int | None,
    target: Target,
    *,
    flattens: bool,
    as_json: bool,
) -> None:
    """Change a running or stopped strategy: only what is named changes; the new revision warms up again."""
    wanted = _parameters(parameters)
    units, size = (0, "") if quantity is None else _quantity(quantity)
    changed = {
        "symbols": bool(symbols),
        "quantity": quantity is not None and not size,
        "size": bool(size),
        "product": product is not None,
        "brokers": bool(brokers),
        "signal_ttl_seconds": ttl is not None,
    }
    paths = [f"parameters.{name}" for name in wanted] + [name for name, given in changed.items() if given]
    if not paths:
        fail("nothing to change: name -p, --instrument, --quantity, --product, --broker or --ttl", USAGE)
    request = UpdateStrategyRequest(
        request_id=new_request_id(),
        strategy_id=strategy_id,
        strategy=Strategy(
            parameters=wanted,
            symbols=symbols,
            brokers=brokers,
            quantity=units,
            size=size,
            product=Product.Value(f"PRODUCT_{product or 'UNSPECIFIED'}"),
            signal_ttl_seconds=ttl or 0,
        ),
        update_mask=FieldMask(paths=paths),
        open_position=OPEN_POSITION_FLATTEN if flattens else OPEN_POSITION_KEEP,
    )
    answer = ask(target, lambda services: services.strategy.UpdateStrategy(request))
    show(answer, as_json=as_json, table=lambda: strategy_table(answer.strategy))


@strategies.command("delete")
@click.argument("strategy_id")
@asks
def delete_strategy(strategy_id: str, target: Target, *, as_json: bool) -> None:
    """Delete a stopped strategy; its positions are left open."""
    request = DeleteStrategyRequest(request_id=new_request_id(), strategy_id=strategy_id)
    answer = ask(target, lambda services: services.strategy.DeleteStrategy(request))
    show(answer, as_json=as_json, table=lambda: strategies_table([answer.strategy]))


def _quantity(text: str) -> tuple[int, str]:
    if re.fullmatch(r"-?\d{1,18}", text):  # the service says what is wrong with it, and with other fields
        return int(text), ""
    try:
        return units_or_size(text, "--quantity")
    except InvalidInput as error:
        fail(str(error), USAGE)


def _parameters(pairs: tuple[str, ...]) -> dict[str, str]:
    try:
        return parsed_parameters(pairs)
    except InvalidInput as error:
        fail(str(error), USAGE)


def _name(strategy_type: str, symbol: str) -> str:
    """Default name of a strategy, such as "rsi.infy"."""
    return NOT_IN_NAMES.sub("-", f"{strategy_type}.{symbol.partition(':')[2]}".lower())
