"""Services, servers and alarms as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from rich.table import Table
from rich.text import Text

from alphapanda.commands.tables import remark, row, state, table
from alphapanda.commands.wording import (
    DOWN,
    count,
    market_moment,
    shown_time,
    word,
)
from panda.ops.v1.ops_pb2 import (
    DAY_STEP_STATE_FAILED,
    DAY_STEP_STATE_TRYING,
    DAY_STEP_STATE_WAITING,
    SERVICE_STATE_SERVING,
    GetStatusResponse,
    ServerStatus,
    ServiceStatus,
)

DAY_STYLES: Final[Mapping[int, str]] = {DAY_STEP_STATE_FAILED: DOWN, DAY_STEP_STATE_TRYING: "yellow"}
"""Colours of a step's states that a person should look at."""


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


def day_lines(status: GetStatusResponse) -> list[Text]:
    """A line for each step of the exchange's day whose time has come, and one for what is next."""
    steps = status.day_steps
    begun = [
        Text(
            f"{status.trading_day} {step.name}: {word(step, 'state')}: {step.message}",
            style=DAY_STYLES.get(step.state, ""),
        )
        for step in steps
        if step.state != DAY_STEP_STATE_WAITING
    ]
    waiting = [step for step in steps if step.state == DAY_STEP_STATE_WAITING]
    if not waiting:
        return begun
    due = shown_time(market_moment(waiting[0], "due_at"), "%H:%M")
    return [*begun, Text(f"{status.trading_day} {waiting[0].name}: next, at {due}", style="dim")]


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
