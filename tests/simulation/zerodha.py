"""Zerodha's trader and trading's executor on the stub exchange, in virtual time, through what the exchange and people do to them (R3, R18).

`.venv/bin/python -m tests.simulation.zerodha seeds 10000` runs seeds, `… unclear 1000` scorecard R3: twice as many calls without a clear answer.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final, cast

from tests.in_memory.trading_store import MemoryTradingStore
from tests.kite_exchange.clock import Clock
from tests.kite_exchange.exchange import Exchange
from tests.kite_exchange.listed import Listing
from tests.simulation.desk_rest import DONE, NOT_DONE, USER, DeskRest, Fate, drawn
from tests.simulation.scenario import quiet
from tests.simulation.virtual import run_virtually

from alphapanda.domain import ids
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.charge_rates import load_charge_rates
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side, TradingState
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import FOREIGN, PositionKey
from alphapanda.domain.terms import AT_MARKET, Protection, Terms
from alphapanda.domain.verdict import Approved
from alphapanda.paper_exchange.core.paper_charges import KiteCharges
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.order import Order
from alphapanda.trading.execution_context import ExecutionContext
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.exit_cuts import ExitCuts
from alphapanda.trading.foreign import ForeignTrades
from alphapanda.trading.late_arrivals import LateArrivals
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.order_changes import OrderChanges
from alphapanda.trading.traders.isolation import IsolatedTraders
from alphapanda.trading.traders.kite_parts import ZerodhaOptions, ZerodhaParts
from alphapanda.trading.traders.kite_trader import ZerodhaTrader

NOON: Final = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
DAY: Final = NOON.date()
BROKER: Final = "zerodha"
SYMBOL: Final = "INFY"
LISTING: Final = Listing(DAY, 40)
CALENDAR: Final = load_nse_calendar()
CHARGES: Final = KiteCharges(load_charge_rates())
REACTION: Final = 60.0
"""Seconds after a trade elsewhere in which nothing trades: so long a working exit may be larger than what is held."""
OPTIONS: Final = TradingOptions(send_window_seconds=2, call_timeout_seconds=5, batch_wait_seconds=0.1)


class Market:
    """Prices that are always fresh."""

    def __init__(self, now: Callable[[], datetime], token: int, price: Callable[[], Decimal]) -> None:
        self._now = now
        self._token = token
        self._price = price

    async def view(self, _: object) -> MarketView:
        """The market now."""
        now = self._now()
        return MarketView(now, "run", {self._token: LastPrice(self._price(), now)})

    async def view_with_states(
        self, tokens: Sequence[int], brokers: Sequence[str]
    ) -> tuple[MarketView, Mapping[str, TradingState]]:
        """The market now; everything may be traded."""
        return await self.view(tokens), dict.fromkeys(brokers, TradingState.ACTIVE)


class World:
    """A stub exchange, and trading on it, in virtual time.

    Args:
        fate: what becomes of each call.
        seconds: how long an answer takes.
        look_up_interval: seconds between two look-ups of an order, at first.
    """

    def __init__(
        self, fate: Callable[[str], Fate], seconds: float = 0.0, look_up_interval: float = 0.25
    ) -> None:
        loop = asyncio.get_running_loop()
        self.time = loop.time
        noon = int(NOON.timestamp()) * 1_000_000_000
        self.exchange = Exchange.of(clock=Clock(lambda: noon + int(loop.time() * 1e9)), rows=40, day=DAY)
        self.exchange.market.listing = LISTING
        self.desk = self.exchange.desk
        listed = LISTING.by_key[f"NSE:{SYMBOL}"]
        self.token = listed.instrument_token
        instrument = Instrument(
            "NSE:INFY", self.token, "NSE", SYMBOL, "Infosys", "NSE", "EQ", Decimal("0.05"), 1, 0, "NSE_EQ"
        )  # fmt: skip
        directory = InstrumentDirectory([instrument])
        self.rest = DeskRest(self.exchange, fate, seconds)
        self.store = MemoryTradingStore(self.now)
        self._parts = ZerodhaParts(
            cast("Any", {"default": self.rest}),
            CHARGES,
            lambda: directory,
            ZerodhaOptions(),
            monotonic=loop.time,
        )
        self._interval = look_up_interval
        self._directory = directory
        self._signals = 0
        self.crossed: list[str] = []
        self.desk.told.append(lambda *_: self._watch())

    @property
    def price(self) -> Decimal:
        """The last price, rupees."""
        return Decimal(746)

    def now(self) -> datetime:
        """Wall time."""
        return NOON + timedelta(seconds=self.time())

    async def start(self) -> None:
        """Starts a process of trading, from what the store has."""
        traders = IsolatedTraders({BROKER: ZerodhaTrader(BROKER, self._parts)}, OPTIONS.call_timeout_seconds)
        await traders.start()
        self.context = ExecutionContext(
            self.store,
            traders.by_broker,
            cast("Any", Market(self.now, self.token, lambda: self.price)),
            lambda: self._directory,
            self.time,
            self.now,
        )
        checks = PreSubmitChecks(
            ExecutionRouter([BROKER]), lambda _: [BROKER], CALENDAR, timedelta(seconds=30)
        )
        self.executor = OrderExecutor(self.context, checks, OPTIONS, look_up_interval=self._interval)
        changes = OrderChanges(self.context, self.executor.driver, OPTIONS)
        cuts = ExitCuts(self.context, changes.begin)
        self.rounds = [
            LateArrivals(self.context, 30.0).rounds,
            ForeignTrades(self.context, cuts.look).rounds,
            cuts.rounds,
        ]
        self._changes = changes
        await self.executor.start()
        await changes.start()
        for one in self.rounds:
            await one.start()

    async def stop(self) -> None:
        """Cuts the process off, wherever its calls are."""
        await self._changes.stop()
        await self.executor.stop()
        for one in self.rounds:
            await one.stop()

    def orders(self) -> list[Order]:
        """All orders of trading."""
        return [stored.order for stored in self.store._tables.orders.values()]

    def held(self, strategy: str) -> int:
        """Units that trading holds for a strategy."""
        return self.store._tables.positions[self.key(strategy)]

    def held_by_all(self) -> int:
        """Units that trading holds."""
        return sum(self.store._tables.positions.values())

    def held_there(self) -> int:
        """Units that the exchange's own books hold."""
        return sum(one.quantity for one in self.desk.account(USER).positions.values())

    def key(self, strategy: str) -> PositionKey:
        """A strategy's position."""
        return PositionKey(BROKER, "default", strategy, "NSE:INFY", Product.MIS)

    async def wants(
        self, strategy: str, target: int, terms: Terms = AT_MARKET, protection: Protection | None = None
    ) -> bool:
        """A strategy wants a position, as risk would let it: not while an order of it is open. Returns whether there is something to do."""
        busy = any(
            order.key.strategy_id == strategy and not (order.status.is_final or order.protective)
            for order in self.orders()
        )
        delta = target - self.held(strategy)
        if busy or not delta:
            return False
        self._signals += 1
        verdict = Approved(
            signal_id=ids.derived_id("zerodha", self._signals),
            correlation_id=ids.derived_id("zerodha frame", self._signals),
            key=self.key(strategy),
            instrument_token=self.token,
            config_revision=1,
            side=Side.of(delta),
            quantity=abs(delta),
            terms=terms,
            effect=PositionEffect.of(self.held(strategy), delta),
            protection=protection if delta > 0 else None,
            valid_until=self.now() + timedelta(seconds=60),
            decided_at=self.now(),
            rules=(),
        )
        await self.executor.execute([(verdict, "cause")])
        return True

    def elsewhere(self, side: str, quantity: int) -> None:
        """A person trades by phone."""
        form = {
            "exchange": "NSE", "tradingsymbol": SYMBOL, "transaction_type": side, "quantity": str(quantity),
            "product": "MIS", "order_type": "MARKET", "market_protection": "5",
        }  # fmt: skip
        self.desk.place(USER, "regular", form)

    def hides(self) -> bool:
        """Whether an order of ours doesn't show in the book: what it trades can't be cut, because nobody can find it."""
        now = self.exchange.clock.ns()
        return any(order.hidden_until_ns > now for order in self.desk.orders.values())

    def trades_on(self) -> None:
        """A trade at the same price: what trades in parts goes on."""
        self.exchange.on_prices({self.token})

    def _watch(self) -> None:
        if self.held_there() < 0:
            self.crossed.append(f"{self.held_there()} at {self.time():.3f} s")


# -- seeds ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a seed: what went wrong, one line each, and how many orders and faults there were."""

    seed: int
    violations: tuple[str, ...]
    orders: int
    troubled: int


async def _seed(seed: int) -> Outcome:
    chance = Random(f"zerodha {seed}")
    trouble = chance.choice((0.0, 0.1, 0.3, 0.6))
    troubled = 0
    peace = False

    def fate(tag: str) -> Fate:
        nonlocal troubled
        if peace:
            return Fate()
        drawn_one = drawn(chance, trouble if tag else trouble / 3)
        troubled += bool(drawn_one.answer)
        return drawn_one

    world = World(fate)
    await world.start()
    strategies = ("one", "two")
    for _ in range(chance.randrange(4, 16)):
        await asyncio.sleep(chance.choice((0.0, 0.3, 2.0, 30.0, 200.0)))
        match chance.randrange(10):
            case 0:
                await world.stop()
                await asyncio.sleep(chance.random() * 5)
                await world.start()
            case 1 if world.held_there() > 0 and not world.hides():
                world.elsewhere("SELL", chance.randrange(1, world.held_there() + 1))
                await asyncio.sleep(REACTION)
            case 2:
                world.desk.square_off(USER)
                await asyncio.sleep(REACTION)
            case 3 | 4:
                world.trades_on()
            case _:
                await world.wants(chance.choice(strategies), chance.choice((0, 0, 5, 10, 20)))
    peace = True
    await _flat(world, strategies)
    await world.stop()
    return Outcome(seed, tuple(_violations(world)), len(world.orders()), troubled)


async def _flat(world: World, strategies: Sequence[str]) -> None:
    """Everything comes to rest, and every strategy leaves its position."""
    for _ in range(40):
        world.trades_on()
        await asyncio.sleep(20.0)
        busy = any(not order.status.is_final for order in world.orders())
        acted = [await world.wants(strategy, 0) for strategy in strategies]
        if not busy and not any(acted):
            break
    await asyncio.sleep(60.0)  # late arrivals, and what was traded elsewhere


def _violations(world: World) -> list[str]:
    found = [f"the account crossed zero: {crossed}" for crossed in world.crossed]
    tags = Counter(order.tag for order in world.desk.orders.values() if order.tag)
    found += [f"{tag} was placed {count} times" for tag, count in tags.items() if count > 1]
    found += [f"{tag} was called {count} times" for tag, count in world.rest.calls.items() if count > 1]
    by_tag = {order.tag: order for order in world.desk.orders.values()}
    adopted = world.store._tables.orders
    for order in world.orders():
        if not order.status.is_final:
            found.append(f"order {order.order_id} is {order.status.name}")
        entries = [one for one in order.intents if one.epoch and one.status is not OrderStatus.NOT_SENT]
        if order.effect.is_entry and len(entries) > 1:
            found.append(f"an entry was sent {len(entries)} times")
        for intent in order.intents:
            there = by_tag.get(intent.tag)
            late = adopted.get(ids.output_id("trading", intent.intent_id, "adopted"))
            ours = intent.filled + (late.order.filled if late else 0)
            if ours != (there.filled if there else 0):
                found.append(
                    f"{intent.tag}: {ours} filled here, {there.filled if there else 'nothing'} there"
                )
    if world.held_by_all() != world.held_there():
        found.append(f"{world.held_by_all()} held here, {world.held_there()} there")
    for key, quantity in world.store._tables.positions.items():
        if quantity and key.strategy_id != FOREIGN:
            found.append(f"{key.strategy_id} still holds {quantity}")
    return found


def run_seed(seed: int) -> Outcome:
    """Runs a seed."""
    with quiet():
        return run_virtually(_seed(seed))


# -- scorecard R3 -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Survived:
    """What came of calls without a clear answer.

    Attributes:
        unclear: how many there were.
        accepted: of those.
        entries: how entries ended, and how many did so.
        exits: how exits ended.
        violations: what went wrong.
    """

    unclear: int
    accepted: int
    entries: Counter[str]
    exits: Counter[str]
    violations: tuple[str, ...]


async def _unclear(number: int) -> Survived:
    chance = Random("unclear")
    unclear = accepted = 0
    seen: set[str] = set()

    def fate(tag: str) -> Fate:
        """The first call of each order says nothing; every second one was accepted, and is visible after up to two minutes."""
        nonlocal unclear, accepted
        if not tag or tag in again or tag in seen:
            return Fate()
        seen.add(tag)
        unclear += 1
        if unclear % 2:
            return Fate(chance.choice(NOT_DONE[:2]))
        accepted += 1
        return Fate(chance.choice(DONE), chance.random() * 120.0)

    world = World(fate, seconds=0.25, look_up_interval=3.0)
    again = _SecondCalls(world)
    world.desk.account(USER).paid_in = Decimal(10**9)
    await world.start()
    strategies = [f"s-{one}" for one in range(number)]
    for wanted in (10, 0):
        for strategy in strategies:
            await world.wants(strategy, wanted)
            await asyncio.sleep(0.02)
        await asyncio.sleep(400.0)
    await _flat(world, strategies)
    await world.stop()
    ends = [
        (order.effect.is_entry, f"{order.status.name} {order.failure.name if order.failure else ''}".strip())
        for order in world.orders()
    ]
    return Survived(
        unclear,
        accepted,
        Counter(end for is_entry, end in ends if is_entry),
        Counter(end for is_entry, end in ends if not is_entry),
        tuple(_violations(world)),
    )


class _SecondCalls:
    """The tags of further calls of an order, such as of an exit that was absent; what was not sent was no call."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __contains__(self, tag: str) -> bool:
        for order in self._world.orders():
            called = [one for one in order.intents if one.status is not OrderStatus.NOT_SENT]
            if tag in [one.tag for one in called[1:]]:
                return True
        return False


def unclear_answers(number: int) -> Survived:
    """So many entries, then exits of what they bought; each first call has no clear answer."""
    with quiet():
        return run_virtually(_unclear(number))


if __name__ == "__main__":
    what, count = sys.argv[1], int(sys.argv[2])
    if what == "unclear":
        sys.stdout.write(f"{unclear_answers(count)}\n")
    else:
        first = int(sys.argv[3]) if len(sys.argv) > 3 else 0
        bad = [one for one in map(run_seed, range(first, first + count)) if one.violations]
        for one in bad[:5]:
            sys.stdout.write(f"seed {one.seed}: {'; '.join(one.violations)}\n")
        sys.stdout.write(f"{count} seeds, {len(bad)} with violations\n")
        sys.exit(bool(bad))
