"""`alphapanda watch`: the live view of a running platform."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from datetime import UTC, datetime
from typing import Final

import click

from alphapanda.commands.console import fail, out, wide
from alphapanda.commands.finding import Target, target_option
from alphapanda.commands.live.following import Following
from alphapanda.commands.live.picture import picture
from alphapanda.commands.live.reporting import Reporter, as_object
from alphapanda.commands.live.screen import shown
from alphapanda.commands.live.view import View

EVERY_SECONDS: Final = 1.0
FIRST_ANSWERS_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.05
WIDTH_ELSEWHERE: Final = 100
NOTE: Final = "Ctrl-C ends the view, not the platform"


@click.command()
@click.option("--broker", default="", help="[default: paper]")
@click.option("--account", default="", help="[default: default]")
@click.option("--once", is_flag=True, help="show it once and end")
@target_option
@click.option("--json", "as_json", is_flag=True, help="print one object a second, a line each")
def watch(broker: str, account: str, target: Target, *, once: bool, as_json: bool) -> None:
    """Show the market's clock, strategies, positions, orders, rates and services as they change; Ctrl-C ends it."""
    asyncio.run(
        _watch(
            Following(target, broker, account, "" if once else NOTE, time.monotonic),
            once=once,
            as_json=as_json,
        )
    )


async def _watch(following: Following, *, once: bool, as_json: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    tasks = [asyncio.create_task(following.run()), asyncio.create_task(stopping.wait())]
    if once:
        tasks.append(asyncio.create_task(_first_answers(following.view)))
    elif out.is_terminal and not as_json:
        tasks.append(asyncio.create_task(shown(following.view, out, time.monotonic)))
    else:
        tasks.append(asyncio.create_task(_reported(following.view, as_json=as_json)))
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError):
            raise ended
    if once and not stopping.is_set():
        _once(following.view, as_json=as_json)


async def _first_answers(view: View) -> None:
    """Waits until every source has answered or failed, for FIRST_ANSWERS_SECONDS at most."""
    until = time.monotonic() + FIRST_ANSWERS_SECONDS
    while not view.received | view.troubles.keys() >= set(view.sources) and time.monotonic() < until:  # noqa: ASYNC110 - another task feeds it
        await asyncio.sleep(POLL_SECONDS)


def _once(view: View, *, as_json: bool) -> None:
    if view.away is not None:
        fail(view.away.why)
    if as_json:
        _print_object(view)
    else:
        width = out.width if out.is_terminal else WIDTH_ELSEWHERE
        wide.print(picture(view, now=time.monotonic(), width=width, height=None), width=width)


async def _reported(view: View, *, as_json: bool) -> None:
    reporter = Reporter()
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        if as_json:
            _print_object(view)
        else:
            for line in reporter.lines(view, time.monotonic()):
                click.echo(line)


def _print_object(view: View) -> None:
    click.echo(json.dumps(as_object(view, datetime.now(UTC))))
