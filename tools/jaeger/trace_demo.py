"""`make trace-demo`: the platform trades on paper, its traces go to a real Jaeger, and one order's trace is shown.

Jaeger keeps its traces in memory, on loopback ports of its own. Prints the trace id, what to ask Jaeger, and the order's
tree; writes the trace as an HTML page; stays until Ctrl-C and leaves no process behind. With `--mesh` every service is a
process of its own on Kafka, as in `make mesh`; otherwise all are in one process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "kafka"))

from jaeger_server import JaegerDidNotStart, JaegerServer, missing_for_jaeger
from kafka_server import KafkaDidNotStart, free_ports, missing_for_kafka
from mesh import PROGRAM, Mesh, say, seed_demo
from trace_answer import TracedSpan
from waterfall import page

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS: Final = 180.0
PAUSE_SECONDS: Final = 0.5
STOP_SECONDS: Final = 25.0
LEDGER_SERVICE: Final = "portfolio"
"""The service whose span comes last: it books the fill."""


class NothingTraded(Exception):
    """No order was traced in time, or the platform ended; the message says what there is instead."""


def check_process(name: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Raises NothingTraded where a process has ended, with the last line of its log."""
    if process.poll() is not None:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise NothingTraded(f"{name} ended: {''.join(last)} (log: {log})")


class Platform:
    """The platform in one process: `alphapanda up --demo`.

    Args:
        folder: where its data and its log are kept.
        environment: its environment variables.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.log = folder / "up.log"
        (port,) = free_ports(1)
        self.options = ("--target", f"127.0.0.1:{port}")
        data = ("--data-dir", str(folder / "data"))
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [PROGRAM, "up", "--demo", "--plain", "--port", str(port), *data],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises NothingTraded where it has ended."""
        check_process("the platform", self._process, self.log)

    def stop(self) -> None:
        """Asks it to end, and waits; kills it where it doesn't."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Asking:
    """Commands that are run against the platform.

    Args:
        environment: environment variables that name it.
        options: options that name it.
    """

    def __init__(self, environment: Mapping[str, str], options: tuple[str, ...] = ()) -> None:
        self._environment = dict(environment)
        self.options = options

    def run(self, *arguments: str) -> str:
        """What a command prints; empty where it fails."""
        done = subprocess.run(
            [PROGRAM, *arguments, *self.options],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout if done.returncode == 0 else ""

    def orders(self) -> list[dict[str, Any]]:
        """Filled orders of strategies, newest first."""
        answer = self.run("orders", "list", "--status", "filled", "--page-size", "100", "--json")
        orders = json.loads(answer).get("orders", []) if answer else []
        return [one for one in orders if one["state"]["strategyId"] != "manual"]


async def whole(start: Coroutine[Any, Any, None]) -> None:
    """Awaits a start also where it is cancelled meanwhile: half a start would leave behind what nobody stops."""
    task = asyncio.ensure_future(start)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def traced_order(
    asking: Asking, jaeger: JaegerServer, check: Callable[[], None]
) -> tuple[dict[str, Any], list[TracedSpan]]:
    """Waits for an order whose fill is booked and whose trace Jaeger has; returns both.

    Raises:
        NothingTraded: there was none in time.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    orders: list[dict[str, Any]] = []
    while time.monotonic() < until:
        check()
        orders = await asyncio.to_thread(asking.orders)
        for order in orders:
            trace = await asyncio.to_thread(jaeger.trace, order["correlationId"].replace("-", ""))
            if any(span.service == LEDGER_SERVICE for span in trace):
                return order, trace
        await asyncio.sleep(PAUSE_SECONDS)
    what = f"{len(orders)} filled orders, none with a whole trace" if orders else "no order was filled"
    raise NothingTraded(f"{what} within {PATIENCE_SECONDS:g} s")


def tell(
    order: Mapping[str, Any], trace: Sequence[TracedSpan], jaeger: JaegerServer, asking: Asking, folder: Path
) -> None:
    """Prints what there is to see, and writes the page."""
    trace_id, order_id = trace[0].trace_id, order["state"]["orderId"]
    written = folder / f"trace-{trace_id}.html"
    heading = f"Order {order_id} of {order['state']['strategyId']} in {order['symbol']}."
    written.write_text(page(trace, heading), encoding="utf-8")
    tags = json.dumps({"alphapanda.order_id": order_id})
    say(f"\ntrace {trace_id}\n")
    say("ask Jaeger for it, by its id and by the order's:")
    say(f"  curl -s {jaeger.url}/api/traces/{trace_id}")
    say(f"  curl -sG {jaeger.url}/api/traces --data-urlencode service=trading --data-urlencode 'tags={tags}'")
    say("\nthe same order, told from rows and topics:")
    command = " ".join(("alphapanda", "trace", order_id, *asking.options))
    say(f"  .venv/bin/{command}\n")
    say(asking.run("trace", order_id))
    say(f"the trace as a page: {written}")
    say("(this build of Jaeger has no web UI; its official image has)")


async def main() -> int:
    """Runs until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mesh", action="store_true", help="every service a process of its own, on Kafka")
    parser.add_argument("--once", action="store_true", help="end once the trace is shown")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".tools" / "trace-demo", help="where everything is kept"
    )
    wanted = parser.parse_args()
    if missing := missing_for_jaeger() or (missing_for_kafka() if wanted.mesh else None):
        sys.stderr.write(f"{missing}\n")
        return 1
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    running = asyncio.create_task(_run(wanted.folder.resolve(), mesh=wanted.mesh, once=wanted.once))
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait([running, told], return_when=asyncio.FIRST_COMPLETED)
    running.cancel()  # its own clean-up stops what it has started
    told.cancel()
    [outcome] = await asyncio.gather(running, return_exceptions=True)
    if isinstance(outcome, NothingTraded | JaegerDidNotStart | KafkaDidNotStart):
        sys.stderr.write(f"{outcome}\n")
        return 1
    if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
        raise outcome
    return 0


async def _run(folder: Path, *, mesh: bool, once: bool) -> None:
    with ExitStack() as jaegers:
        jaeger = JaegerServer(folder / "jaeger")
        say("starting Jaeger …")
        jaegers.callback(jaeger.stop)
        jaeger.start()
        environment = {**os.environ, **jaeger.environment}
        async with AsyncExitStack() as platforms:
            if mesh:
                os.environ.update(environment)  # which the mesh hands to its processes
                of_mesh = Mesh(folder / "mesh")
                platforms.push_async_callback(of_mesh.stop)
                say("starting Kafka, PostgreSQL, Redis and the services, a process each …")
                await whole(of_mesh.start())
                await seed_demo(of_mesh.environment)

                def check() -> None:
                    for service, process in of_mesh.processes.items():
                        check_process(service, process, folder / "mesh" / "logs" / f"{service}.log")

                asking = Asking(of_mesh.environment)
            else:
                say("starting the platform …")
                platform = Platform(folder, environment)
                platforms.push_async_callback(asyncio.to_thread, platform.stop)
                asking = Asking(environment, platform.options)
                check = platform.check
            say("waiting for a strategy's order to be filled and booked …")
            order, trace = await traced_order(asking, jaeger, check)
            tell(order, trace, jaeger, asking, folder)
            if not once:
                say("running until Ctrl-C")
                await asyncio.Event().wait()  # until it is cancelled: here, and so not within the clean-up


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
