"""Scorecard R3: every broker call of an order times out; half of them were accepted and show up within two minutes.

`.venv/bin/python -m tests.simulation.unclear 1334` is the full form: 1,334 entries and the exits of those that were
accepted make 2,000 calls without a clear answer.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from tests.simulation.asks import Wishes
from tests.simulation.exchange import Exchange, Fate
from tests.simulation.market import Market
from tests.simulation.scenario import Scenario, name, quiet
from tests.simulation.services import ACCOUNT, BROKER, Parts
from tests.simulation.world import NOON, Faults, World
from typing_extensions import override

from alphapanda.domain import ids
from alphapanda.domain.order import FailureReason, OrderStatus, Product
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.trading.executor import OrderExecutor

VISIBLE_WITHIN = 120.0
EXITS_AT = 400.0


class _Patient(OrderExecutor):
    """Looks up less often: thousands of orders at once."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts, look_up_interval=3.0)  # type: ignore[arg-type]


class _Exchange(Exchange):
    """The first call of every order gets no clear answer; every second of them was accepted."""

    def __init__(self, world: World, market: Market) -> None:
        super().__init__(world, BROKER, market, VISIBLE_WITHIN)
        self.unclear = self.accepted = 0

    @override
    def fate(self, tag: str) -> Fate:
        if not self._world.named(tag).endswith(".0"):
            return Fate()
        self.unclear += 1
        accepted = self.unclear % 2 == 0
        self.accepted += accepted
        return Fate(unclear=True, accepted=accepted, hidden=self._world.chance.random() * VISIBLE_WITHIN)


@dataclass(frozen=True, slots=True)
class Survived:
    """What came of it.

    Attributes:
        unclear: calls without a clear answer.
        accepted: of those.
        calls: all that the exchange counted, retried exits among them.
        orders: how each ended, and how many did so.
        exits: orders that left a position.
        held: positions that aren't flat at the end.
        violations: of the simulation's invariants.
    """

    unclear: int
    accepted: int
    calls: int
    orders: Counter[str]
    exits: Counter[str]
    held: int
    violations: tuple[str, ...]


class _Scenario(Scenario):
    def __init__(self, entries: int) -> None:
        super().__init__(3, Parts(executor=_Patient), Faults(), Wishes())
        self.operated = 0.0
        self.strategies = [f"s-{number}" for number in range(entries)]
        self.plan = [
            *((30.0 * n / entries, self._wish(n, 30.0 * n / entries, 10)) for n in range(entries)),
            *((EXITS_AT + n / 50, self._wish(n + entries, EXITS_AT + n / 50, 0)) for n in range(entries)),
        ]
        self.exchange = self.mesh.exchange = _Exchange(self.world, self.mesh.market)

    def _wish(self, number: int, at: float, target: int) -> Signal:
        strategy = self.strategies[number % len(self.strategies)]
        now = NOON + timedelta(milliseconds=int(at * 1000))
        frame = ids.derived_id("frame", number)
        signal = Signal(
            signal_id=ids.derived_id("unclear", number),
            correlation_id=frame,
            causation_id=frame,
            key=PositionKey(BROKER, ACCOUNT, strategy, "NSE:S1", Product.MIS),
            instrument_token=1,
            config_revision=1,
            target=target,
            side=None,
            quantity=None,
            terms=AT_MARKET,
            market_time=now,
            valid_until=now + timedelta(minutes=10),
        )
        name(self.world, number, signal)
        return signal


def unclear_answers(entries: int) -> Survived:
    """Entries that all time out, then exits of what they bought, which all time out at first."""
    scenario = _Scenario(entries)
    with quiet():
        outcome = scenario.run()
    orders = [stored.order for stored in scenario.mesh.trading_store._tables.orders.values()]
    ends = [
        (order, f"{order.status.name} {order.failure.name if order.failure else ''}".strip())
        for order in orders
    ]
    return Survived(
        scenario.exchange.unclear,
        scenario.exchange.accepted,
        outcome.calls,
        Counter(end for order, end in ends if order.effect.is_entry),
        Counter(end for order, end in ends if not order.effect.is_entry),
        sum(quantity != 0 for quantity in scenario.mesh.trading_store._tables.positions.values()),
        tuple(map(str, outcome.violations)),
    )


FILLED = OrderStatus.FILLED.name
ABSENT = f"{OrderStatus.FAILED.name} {FailureReason.ABSENT.name}"

if __name__ == "__main__":
    sys.stdout.write(f"{unclear_answers(int(sys.argv[1]))}\n")
