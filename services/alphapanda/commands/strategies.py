"""`alphapanda strategies`: list, start and stop them."""

from __future__ import annotations

import click

from alphapanda.commands.asking import ListsByDefault, ask, asks, new_request_id, page, pages, show
from alphapanda.commands.tables import strategies_table
from panda.events.v1.control_pb2 import StrategyState
from panda.strategy.v1.strategy_pb2 import ListStrategiesRequest, StartStrategyRequest, StopStrategyRequest


@click.group(cls=ListsByDefault)
def strategies() -> None:
    """Show strategies, start and stop them."""


@strategies.command("list")
@click.option("--state", type=click.Choice(["running", "stopped"]), help="only those in this state")
@pages
@asks
def list_strategies(
    state: str | None, page_size: int, page_token: str, target: str, *, as_json: bool
) -> None:
    """Show strategies by name."""
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


@strategies.command("start")
@click.argument("strategy_id")
@asks
def start_strategy(strategy_id: str, target: str, *, as_json: bool) -> None:
    """Start a strategy."""
    request = StartStrategyRequest(request_id=new_request_id(), strategy_id=strategy_id)
    answer = ask(target, lambda services: services.strategy.StartStrategy(request))
    show(answer, as_json=as_json, table=lambda: strategies_table([answer.strategy]))


@strategies.command("stop")
@click.argument("strategy_id")
@asks
def stop_strategy(strategy_id: str, target: str, *, as_json: bool) -> None:
    """Stop a strategy; its position stays as it is."""
    request = StopStrategyRequest(request_id=new_request_id(), strategy_id=strategy_id)
    answer = ask(target, lambda services: services.strategy.StopStrategy(request))
    show(answer, as_json=as_json, table=lambda: strategies_table([answer.strategy]))
