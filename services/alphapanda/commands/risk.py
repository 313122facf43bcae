"""`alphapanda risk`: limits, verdicts, exposure and kill switches."""

from __future__ import annotations

import click
from rich.console import Group, RenderableType

from alphapanda.commands.asking import (
    ListsByDefault,
    Services,
    ask,
    asks,
    even_if_unknown,
    new_request_id,
    page,
    pages,
    show,
)
from alphapanda.commands.console import USAGE, fail, warn
from alphapanda.commands.finding import Target
from alphapanda.commands.risk_tables import (
    exposure_table,
    kill_switch_table,
    limits_table,
    outcome_of,
    routing_table,
    rules_table,
    verdicts_table,
)
from panda.common.v1.common_pb2 import TradingState
from panda.risk.v1.risk_pb2 import (
    GetExposureRequest,
    GetKillSwitchRequest,
    GetLimitsRequest,
    GetVerdictRequest,
    LimitValue,
    ListVerdictsRequest,
    SetKillSwitchRequest,
    UpdateLimitsRequest,
    UpdateLimitsResponse,
    Verdict,
)
from panda.trading.v1.trading_pb2 import GetBrokerRoutingRequest, SetBrokerRoutingRequest


@click.group(cls=ListsByDefault)
def risk() -> None:
    """Show verdicts and exposure; show and set limits and kill switches."""


@risk.command("limits")
@click.option("--broker", default="", help="[default: paper]")
@click.option("--account", default="", help="[default: default]")
@click.option("--strategy", default="", help="limits in force for this strategy")
@click.option("--instrument", default="", help="limits in force for this instrument, such as NSE:INFY")
@asks
def limits(
    broker: str, account: str, strategy: str, instrument: str, target: Target, *, as_json: bool
) -> None:
    """Show the limits in force, and where each value comes from."""
    request = GetLimitsRequest(broker=broker, account=account, strategy_id=strategy, instrument_id=instrument)
    answer = ask(target, lambda services: services.risk.GetLimits(request))
    show(answer, as_json=as_json, table=lambda: limits_table(answer.limits))


@risk.command("set")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]…")
@click.option(
    "--clear",
    multiple=True,
    metavar="NAME",
    help="remove a limit here: the next wider scope applies again; may be repeated",
)
@click.option("--reason", required=True, help="why, one sentence")
@click.option("--broker", default="paper", show_default=True)
@click.option("--account", default="default", show_default=True)
@click.option("--strategy", default="", help="for this strategy only")
@click.option("--instrument", default="", help="for this instrument only, such as NSE:INFY")
@even_if_unknown
@asks
def set_limits(
    values: tuple[str, ...],
    clear: tuple[str, ...],
    reason: str,
    broker: str,
    account: str,
    strategy: str,
    instrument: str,
    target: Target,
    *,
    even_if_unknown: bool,
    as_json: bool,
) -> None:
    """Set limits, such as max_order_value=50000; "off" lifts one. `risk limits` lists them."""
    pairs = [value.partition("=") for value in values]
    for value, (name, equals, given) in zip(values, pairs, strict=True):
        if not (name and equals and given):
            fail(f"{value!r} is not allowed; NAME=VALUE, such as max_order_value=50000", USAGE)
    request = UpdateLimitsRequest(
        request_id=new_request_id(),
        broker=broker,
        account=account,
        strategy_id=strategy,
        instrument_id=instrument,
        set=[LimitValue(name=name, value=given) for name, _, given in pairs],
        clear=clear,
        reason=reason,
        even_if_unknown=even_if_unknown,
    )

    async def change(services: Services) -> UpdateLimitsResponse:
        asked = GetLimitsRequest(broker=broker, account=account, even_if_unknown=even_if_unknown)
        stands = await services.risk.GetLimits(asked)
        request.expected_version = stands.version
        return await services.risk.UpdateLimits(request)

    answer = ask(target, change)
    show(answer, as_json=as_json, table=lambda: limits_table(answer.set))


@risk.command("verdict")
@click.argument("signal_id")
@asks
def verdict(signal_id: str, target: Target, *, as_json: bool) -> None:
    """Show the verdict on one signal or manual order, rule by rule."""
    answer = ask(target, lambda services: services.risk.GetVerdict(GetVerdictRequest(signal_id=signal_id)))
    show(answer, as_json=as_json, table=lambda: _verdict(answer.verdict))


@risk.command("verdicts")
@click.option("--broker", default="", help="only this broker's")
@click.option("--account", default="", help="only this account's")
@click.option("--strategy", default="", help='only this strategy\'s; "manual" for yours')
@click.option("--refused/--approved", default=None, help="only rejected or only approved ones")
@pages
@asks
def verdicts(
    broker: str,
    account: str,
    strategy: str,
    page_size: int,
    page_token: str,
    target: Target,
    *,
    refused: bool | None,
    as_json: bool,
) -> None:
    """List verdicts on signals and manual orders, newest first."""
    request = ListVerdictsRequest(
        broker=broker,
        account=account,
        strategy_id=strategy,
        approved=None if refused is None else not refused,
        page_size=page_size,
        page_token=page_token,
    )
    answer = ask(target, lambda services: services.risk.ListVerdicts(request))
    show(
        answer,
        as_json=as_json,
        table=lambda: page(
            verdicts_table(answer.verdicts) if answer.verdicts else "no verdicts", answer.next_page_token
        ),
    )


@risk.command("exposure")
@click.option("--broker", default="", help="[default: paper]")
@click.option("--account", default="", help="[default: default]")
@asks
def exposure(broker: str, account: str, target: Target, *, as_json: bool) -> None:
    """Show an account's positions and open orders by instrument, and its profit of the day."""
    request = GetExposureRequest(broker=broker, account=account)
    answer = ask(target, lambda services: services.risk.GetExposure(request))
    show(answer, as_json=as_json, table=lambda: exposure_table(answer))


def _verdict(given: Verdict) -> RenderableType:
    return Group(outcome_of(given), "", rules_table(given))


@risk.group("kill-switch", cls=ListsByDefault)
def kill_switch() -> None:
    """Show and set kill switches: what may be traded at a broker."""


@kill_switch.command("show")
@click.option("--broker", default="", help="[default: paper]")
@click.option("--strategy", default="", help="the switch of this strategy")
@click.option("--account", default="", help="the switch of this account, set by its daily loss")
@asks
def show_kill_switch(broker: str, strategy: str, account: str, target: Target, *, as_json: bool) -> None:
    """Show a broker's kill switch, a strategy's or an account's."""
    request = GetKillSwitchRequest(broker=broker, strategy_id=strategy, account=account)
    answer = ask(target, lambda services: services.risk.GetKillSwitch(request))
    show(answer, as_json=as_json, table=lambda: kill_switch_table(answer.kill_switch))
    if answer.difference:
        warn(answer.difference)


@kill_switch.command("set")
@click.argument("state", type=click.Choice(["active", "reducing", "halted"], case_sensitive=False))
@click.option("--reason", required=True, help="why, one sentence")
@click.option("--broker", default="paper", show_default=True)
@click.option("--strategy", default="", help="for this strategy only")
@even_if_unknown
@asks
def set_kill_switch(
    state: str,
    reason: str,
    broker: str,
    strategy: str,
    target: Target,
    *,
    even_if_unknown: bool,
    as_json: bool,
) -> None:
    """Set what may be traded: everything (active), only exits (reducing), nothing but cancels (halted)."""
    request = SetKillSwitchRequest(
        request_id=new_request_id(),
        broker=broker,
        strategy_id=strategy,
        state=TradingState.Value(f"TRADING_STATE_{state.upper()}"),
        reason=reason,
        even_if_unknown=even_if_unknown,
    )
    answer = ask(target, lambda services: services.risk.SetKillSwitch(request))
    show(answer, as_json=as_json, table=lambda: kill_switch_table(answer.kill_switch))
    if answer.warning:
        warn(f"trading has not confirmed: {answer.warning}")
    if answer.unverified:
        warn(answer.unverified)


@risk.group("routing", cls=ListsByDefault)
def routing() -> None:
    """Show and set which brokers orders go to."""


@routing.command("show")
@asks
def show_routing(target: Target, *, as_json: bool) -> None:
    """Show which brokers orders go to now."""
    answer = ask(target, lambda services: services.trading.GetBrokerRouting(GetBrokerRoutingRequest()))
    show(answer, as_json=as_json, table=lambda: routing_table(answer.brokers))


@routing.command("set")
@click.argument("state", type=click.Choice(["on", "off"], case_sensitive=False))
@click.option("--reason", required=True, help="why, one sentence")
@click.option("--broker", default="paper", show_default=True)
@asks
def set_routing(state: str, reason: str, broker: str, target: Target, *, as_json: bool) -> None:
    """Switch a broker off, so that no order goes there, exits neither; or on again, where the settings allow it."""
    request = SetBrokerRoutingRequest(
        request_id=new_request_id(), broker=broker, on=state == "on", reason=reason
    )
    answer = ask(target, lambda services: services.trading.SetBrokerRouting(request))
    show(answer, as_json=as_json, table=lambda: routing_table([answer.routing]))
