"""What `up` started is killed under orders (scorecard R14): it comes back by itself, books stay true, exits pass."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from evidence import read_evidence
from faults import KILLS
from running import IMPATIENT, PATIENCE, Platform, until
from scenarios import Survived
from story import prove

from alphapanda.domain.order import OrderStatus
from panda.common.v1.common_pb2 import SIDE_BUY, SIDE_SELL
from panda.ops.v1.ops_pb2 import SERVICE_STATE_SERVING, GetStatusRequest
from panda.trading.v1.trading_pb2 import GetOrderRequest, ListOrdersRequest, PlaceOrderRequest

BACK_SECONDS = 10.0
"""Within so many seconds everything serves again, orders flow, and an exit has passed."""

HELD = "NSE:TCS"


def servers_killed(data_dir: Path, kills: Sequence[str], speed: str, seed: int) -> Survived:
    """Kills servers of a trading platform one after the other, each while orders flow, and proves the books at the end.

    Args:
        data_dir: where the platform keeps everything.
        kills: names of faults.KILLS, in order.
        speed: of the feed.
        seed: chooses moments and backends.
    """
    chance = random.Random(seed)
    survived = Survived(f"what `up` started killed at speed {speed}, seed {seed}")
    began = time.monotonic()
    with Platform(data_dir, "--speed", speed, environment=IMPATIENT) as platform:
        platform.start()
        platform.run_strategy("busy", parameters={"fast": "1", "slow": "2"})
        person = Person(platform)
        person.trades(SIDE_BUY, len(kills))
        for kill in kills:
            until_orders_flow(platform)
            time.sleep(chance.uniform(0.0, 0.5))
            restarts = restarts_of(platform)
            assert KILLS[kill](data_dir, chance), f"there was no {kill}"
            survived.faults += 1
            at = time.monotonic()
            person.trades(SIDE_SELL, 1)
            until(
                lambda restarts=restarts: restarts_of(platform) > restarts and serves(platform),
                BACK_SECONDS / PATIENCE,
                f"everything serving after {kill} was killed",
            )
            survived.recoveries.append(time.monotonic() - at)
        until_orders_flow(platform)
        platform.come_to_rest()
        platform.stop()
        account = prove(read_evidence(data_dir))
    for name in ("orders", "fills", "absent", "expired"):
        setattr(survived, name, getattr(account, name))
    survived.lost, survived.duplicate = len(account.lost), len(account.duplicate)
    survived.seconds = time.monotonic() - began
    return survived


class Person:
    """Trades by hand, and asks again until there is an answer."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._requests = 0

    def trades(self, side: Any, quantity: int) -> None:
        """Places an order; it is filled within BACK_SECONDS, whatever doesn't serve meanwhile."""
        until(
            lambda: self._is_filled(side, quantity),
            BACK_SECONDS / PATIENCE,
            "a person's order that is filled",
        )

    def _is_filled(self, side: Any, quantity: int) -> bool:
        """Places an order and waits for its end; the paper exchange rejects it while Redis holds no prices."""
        self._requests += 1
        request = PlaceOrderRequest(
            request_id=f"by-hand-{self._requests}", symbol=HELD, side=side, quantity=quantity
        )
        order = until(
            lambda: answered(lambda: self._platform.trading.PlaceOrder(request, timeout=5)),
            BACK_SECONDS,
            "an answer to a person's order",
        ).order
        wanted = GetOrderRequest(order_id=order.state.order_id)

        def ended() -> Any:
            found = answered(lambda: self._platform.trading.GetOrder(wanted, timeout=5))
            return found if found is not None and OrderStatus(found.order.state.status).is_final else None

        state = until(ended, BACK_SECONDS, "the end of a person's order").order.state
        return bool(state.status == OrderStatus.FILLED.value)


def answered(ask: Any) -> Any:
    """The answer; None where a server that doesn't serve now is the reason that there is none."""
    with suppress(grpc.RpcError):
        return ask()
    return None


def restarts_of(platform: Platform) -> int:
    """How often its servers were started again."""
    status = answered(lambda: platform.ops.GetStatus(GetStatusRequest(), timeout=5))
    return -1 if status is None else sum(one.restarts for one in status.servers)


def serves(platform: Platform) -> bool:
    """Whether every service and server serves."""
    status = answered(lambda: platform.ops.GetStatus(GetStatusRequest(), timeout=5))
    return status is not None and all(
        one.state == SERVICE_STATE_SERVING for one in (*status.services, *status.servers)
    )


def until_orders_flow(platform: Platform) -> None:
    """Waits for a new order of the strategy."""

    def newest() -> str:
        wanted = ListOrdersRequest(strategy_id="busy", page_size=1)
        found = answered(lambda: platform.trading.ListOrders(wanted, timeout=5))
        return found.orders[0].state.order_id if found and found.orders else ""

    before = newest()
    until(lambda: newest() not in {"", before}, 60, "orders that flow")
