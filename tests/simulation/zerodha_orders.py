"""Zerodha's world with orders that rest, changes and protections, under the misbehaviours of REAL_MONEY rules 1-17 that are code (R18).

`.venv/bin/python -m tests.simulation.zerodha_orders 10000 [FIRST]` runs seeds. Beside what `zerodha.py` does to a seed: prices move, up to the
circuit; updates are lost, doubled and reversed; the exchange cancels stops at their trigger and orders that would trade with our own; the session dies
in mid-order; a person sells, or converts a position, by phone; the broker squares off.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any, Final, cast

from tests.kite_exchange.orders import Order as StubOrder
from tests.kite_exchange.portfolio_routes import _move
from tests.simulation.desk_rest import USER, Fate, drawn
from tests.simulation.scenario import quiet
from tests.simulation.virtual import run_virtually
from tests.simulation.zerodha import CALENDAR, REACTION, Outcome, World, _flat, _violations
from typing_extensions import override

from alphapanda.domain import ids
from alphapanda.domain.order import OrderType, Validity
from alphapanda.domain.terms import AT_MARKET, Protection, Terms
from alphapanda.kite.session import KiteSession
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest
from alphapanda.trading.core.protection_record import ProtectionState
from alphapanda.trading.hints import OrderHints
from alphapanda.trading.protections import Protections

NAKED_SECONDS: Final = 30.0
"""Seconds in peace, beyond what an order without an answer may take, in which units held have their stop or an exit."""
_ALL: Final = 10**9
UNKNOWN_SECONDS: Final = 240.0
"""Zerodha's visibility window, and a call's own time."""


class Updates:
    """Order updates as the WebSocket brings them: in any order, twice, or never."""

    def __init__(self, chance: Random, rate: float) -> None:
        self.told: Callable[[str], None] = lambda _: None
        self._chance = chance
        self._rate = rate

    def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    def of(self, order: StubOrder, _: str) -> None:
        """An update was sent."""
        if order.tag and self._chance.random() < self._rate:
            for _again in range(self._chance.choice((1, 1, 2))):
                asyncio.get_running_loop().call_later(self._chance.random() * 2, self._arrives, order.tag)

    def _arrives(self, tag: str) -> None:
        self.told(tag)


class OrdersWorld(World):
    """The world, with protections, changes and updates."""

    def __init__(self, fate: Callable[[str], Fate], chance: Random, updates: float) -> None:
        super().__init__(fate)
        self.updates = Updates(chance, updates)
        self._parts = replace(self._parts, updates=cast("Any", {"default": self.updates}))
        self.desk.told.append(self.updates.of)
        self._revision = 1
        self._changes_asked = 0
        self.converted = False

    @override
    async def start(self) -> None:
        await super().start()
        self.protections = Protections(
            self.context, self.executor.driver, self._changes, CALENDAR, interval_seconds=1.0
        )
        self.executor.driver.protections = self.protections
        self.hints = OrderHints(self.store, self.executor.driver, self.context.traders.values())
        await self.hints.start()
        await self.protections.rounds.start()
        self.rounds = [*self.rounds, self.protections.rounds]

    @override
    async def stop(self) -> None:
        await self.hints.stop()
        await super().stop()

    @property
    def price(self) -> Decimal:
        """The last price."""
        quote = self.exchange.market.quote(self.token)
        assert quote is not None
        return quote.rupees

    def moves(self, percent: Decimal) -> None:
        """The price moves, within the day's circuit."""
        quote = self.exchange.market.quote(self.token)
        assert quote is not None
        low, high = quote.circuit
        wanted = (quote.rupees * (1 + percent / 100)).quantize(Decimal("0.1"))
        self.exchange.market.set_price(self.token, min(max(wanted, low), high), self.exchange.clock.ns())

    async def changes(
        self, order: Order, kind: ChangeKind, quantity: int = 0, terms: Terms | None = None
    ) -> None:
        """A person changes an order."""
        self._changes_asked += 1
        change_id = ids.derived_id("change", self._changes_asked)
        await self._changes.ask(
            [ChangeRequest(change_id, order.order_id, kind, "a person", "", quantity, terms)]
        )

    def session_dies(self) -> None:
        """Nobody is signed in any more."""
        self._revision += 1
        self.rest.session.put(KiteSession("default", self._revision, "s1", "key", None))

    def signs_in(self) -> None:
        """A person signs in."""
        self._revision += 1
        self.rest.session.put(KiteSession("default", self._revision, f"s{self._revision}", "key", "token"))

    def converts(self, quantity: int) -> None:
        """A person converts units of the position to delivery, by phone."""
        account = self.desk.account(USER)
        position = next((one for one in account.positions.values() if one.product == "MIS"), None)
        if position is not None and 0 < quantity <= position.quantity:
            _move(position, account.position(position.listed, "CNC"), quantity)
            self.converted = True

    def open_orders(self) -> list[Order]:
        """What a person may change."""
        return [one for one in self.orders() if not (one.status.is_final or one.protective)]

    def naked(self) -> list[str]:
        """Positions with a protection in force, and neither a stop for all their units nor another exit at the exchange."""
        left: defaultdict[str, int] = defaultdict(int)
        by_tag = {one.tag: one for one in self.desk.orders.values() if one.tag}
        for order in self.orders():
            for intent in order.intents:
                there = by_tag.get(intent.tag)
                if there is not None and there.side == "SELL" and there.status in {"OPEN", "TRIGGER PENDING"}:
                    left[order.key.strategy_id] += there.left if order.protective else _ALL
        found = []
        for kept in self.store._tables.protections.values():
            record = kept.stored.record
            held = self.held(record.key.strategy_id)
            if (
                record.state is ProtectionState.ACTIVE
                and record.guard.stop_loss
                and held > left[record.key.strategy_id]
            ):
                found.append(record.key.strategy_id)
        return found


def _terms(chance: Random, price: Decimal) -> Terms:
    level = (price * (1 + Decimal(chance.randrange(-20, 10)) / 1000)).quantize(Decimal("0.1"))
    match chance.randrange(4):
        case 0:
            return Terms(OrderType.LIMIT, Validity.IOC, level)
        case 1:
            above = (price * Decimal("1.004")).quantize(Decimal("0.1"))
            return Terms(OrderType.SL, limit_price=above, trigger_price=above)
        case _:
            return Terms(OrderType.LIMIT, limit_price=level)


def _protection(chance: Random, price: Decimal) -> Protection:
    def off(tenths: int) -> Decimal:
        return (price * (1 + Decimal(tenths) / 1000)).quantize(Decimal("0.1"))

    return Protection(
        off(-chance.randrange(3, 30)),
        off(chance.randrange(3, 30)) if chance.random() < 0.5 else None,
        Decimal(5) if chance.random() < 0.3 else None,
    )


async def _seed(seed: int) -> Outcome:
    chance = Random(f"zerodha orders {seed}")
    trouble = chance.choice((0.0, 0.1, 0.3))
    stops_lost = chance.choice((0.0, 0.0, 0.5))
    troubled = 0
    peace = False

    def fate(tag: str) -> Fate:
        nonlocal troubled
        if peace:
            return Fate()
        drawn_one = drawn(chance, trouble if tag else trouble / 3)
        if not drawn_one.answer and tag and chance.random() < stops_lost:
            return Fate(stop_lost=True)
        troubled += bool(drawn_one.answer)
        return drawn_one

    world = OrdersWorld(fate, Random(f"updates {seed}"), chance.choice((0.0, 0.5, 1.0)))
    await world.start()
    strategies = ("one", "two")
    for _ in range(chance.randrange(8, 24)):
        await asyncio.sleep(chance.choice((0.0, 0.3, 2.0, 10.0, 60.0)))
        await _something(world, chance, strategies)
    peace = True
    world.signs_in()
    found = await _in_peace(world)
    for order in world.open_orders():
        await world.changes(order, ChangeKind.CANCEL)
    await asyncio.sleep(1)
    await _flat(world, strategies)
    await world.stop()
    # What was converted can't be exited as what it was: exits wait or end, with an alarm, and a person sees to it.
    found += [one for one in _violations(world) if not world.converted or "crossed" in one or "times" in one]
    found += [
        f"change {one.change.kind.name} is {one.change.status.name}"
        for one in world.store._tables.changes.values()
        if not (one.change.status.is_final or world.converted)
    ]
    return Outcome(seed, tuple(found), len(world.orders()), troubled)


async def _something(world: OrdersWorld, chance: Random, strategies: tuple[str, str]) -> None:
    """One thing happens."""
    open_orders = world.open_orders()
    match chance.randrange(20):
        case 0:
            await world.stop()
            await asyncio.sleep(chance.random() * 5)
            await world.start()
        case 1 | 2 | 3 as what if world.held_there() > 0 and not world.hides():
            _elsewhere(world, chance, what)
            await asyncio.sleep(REACTION)
        case 4:
            world.session_dies()
            await asyncio.sleep(chance.choice((0.0, 1.0, 30.0)))
            world.signs_in()
        case 5 | 6 if open_orders:
            await world.changes(chance.choice(open_orders), ChangeKind.CANCEL)
        case 7 | 8 if open_orders:
            await _modified(world, chance, chance.choice(open_orders))
        case 9 | 10 | 11 | 12 | 13:
            world.moves(Decimal(chance.choice((-200, -15, -8, -4, -2, 2, 4, 8, 15, 200))) / 10)
        case 14:
            world.trades_on()
        case _:
            target = chance.choice((0, 0, 5, 10, 20))
            entry = bool(target) and chance.random() < 0.7
            await world.wants(
                chance.choice(strategies),
                target,
                _terms(chance, world.price) if target and chance.random() < 0.3 else AT_MARKET,
                _protection(chance, world.price) if entry else None,
            )


def _elsewhere(world: OrdersWorld, chance: Random, what: int) -> None:
    """A person or the broker changes what is held."""
    units = chance.randrange(1, world.held_there() + 1)
    if what == 1:
        world.elsewhere("SELL", units)
    elif what == 2:
        world.desk.square_off(USER)
    elif chance.random() < 0.3:
        world.converts(units)


async def _modified(world: OrdersWorld, chance: Random, order: Order) -> None:
    """A person wants fewer or more units, other prices, or both."""
    terms = _terms(chance, world.price) if chance.random() < 0.5 else order.terms
    if (terms.order_type, terms.validity) != (order.terms.order_type, order.terms.validity):
        terms = order.terms
    quantity = max(1, order.quantity + chance.choice((-6, -3, 2)))
    await world.changes(order, ChangeKind.MODIFY, quantity, None if terms == order.terms else terms)


async def _in_peace(world: OrdersWorld) -> list[str]:
    """In peace positions come to have their stops, or an exit on its way."""
    if world.converted:  # those units can't be sold as what they were: alarms say so, and a person sees to it
        return []
    since: dict[str, float] = {}
    covered = 0
    while covered < NAKED_SECONDS:
        await asyncio.sleep(1.0)
        naked = set(world.naked())
        covered = 0 if naked else covered + 1
        since = {one: since.get(one, world.time()) for one in naked}
        if bad := [one for one in naked if world.time() - since[one] > UNKNOWN_SECONDS + NAKED_SECONDS]:
            return [f"{one} is without its stop" for one in sorted(bad)]
    return []


def run_seed(seed: int) -> Outcome:
    """Runs a seed."""
    with quiet():
        return run_virtually(_seed(seed))


if __name__ == "__main__":
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    bad = 0
    orders = 0
    for seed in range(first, first + count):
        outcome = run_seed(seed)
        orders += outcome.orders
        if outcome.violations:
            bad += 1
            sys.stdout.write(f"seed {seed}: {'; '.join(outcome.violations)}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{count} seeds from {first}, {orders} orders, {bad} with violations\n")
    sys.exit(bool(bad))
