"""The trading room with Zerodha's trader, signed in to a stub exchange of its own over real HTTP."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import requests
import structlog
from kiteconnect import KiteConnect
from tests.kite_exchange.clock import Clock
from tests.kite_exchange.exchange import APP, Exchange
from tests.kite_exchange.faults import Fault
from tests.kite_exchange.orders import Order as StubOrder
from tests.kite_exchange.server import ServerThread, serving
from tests.values import replace
from trading_room import NOON, Room, approved, boot_clock

from alphapanda.domain import ids
from alphapanda.domain.charge_rates import load_charge_rates
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import PositionEffect, Product, Side, TradingState
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved
from alphapanda.kite.options import KiteOptions, OrderBudgets
from alphapanda.kite.order_updates import OrderUpdates
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import KiteSession, SessionFollower
from alphapanda.paper_exchange.core.paper_charges import KiteCharges
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.traders.kite_parts import ZerodhaOptions, ZerodhaParts
from alphapanda.trading.traders.kite_trader import ZerodhaTrader
from alphapanda.trading.traders.trader import Placement

SYMBOL: Final = "NSE:INFY"
UNHURRIED: Final = TradingOptions(send_window_seconds=60, call_timeout_seconds=20, batch_wait_seconds=0.2)
"""On a busy machine no call is late; tests that wait for absence move the boot clock."""
Opened = Callable[..., AbstractAsyncContextManager[Room]]


@dataclass(slots=True)
class Desk:
    """Zerodha's trader alone, at a stub exchange.

    Attributes:
        stub: the exchange.
        trader: Zerodha's.
        follower: the session.
        directory: the instruments that are known.
        instrument: NSE:INFY.
    """

    stub: ServerThread
    trader: ZerodhaTrader
    follower: SessionFollower
    directory: InstrumentDirectory
    instrument: Instrument

    def placement(self, number: int = 0, **changes: Any) -> Placement:
        """An entry of 10 shares; the same number has the same tag."""
        tag = ids.intent_tag(ids.derived_id("test intent", number))
        made = Placement(
            "default", tag, self.instrument, self.instrument.instrument_token, Side.BUY, 10, Product.MIS, AT_MARKET
        )  # fmt: skip
        return dataclasses.replace(made, **changes)

    def exit(self, number: int = 100, **changes: Any) -> Placement:
        """An exit of 10 shares."""
        return self.placement(number, **{"side": Side.SELL, "is_exit": True, **changes})

    def fault(self, kind: str, **told: Any) -> None:
        """Lets something go wrong with the next orders."""
        fault = Fault(kind, **{"method": "POST", "path": "/orders/*", **told})
        self.stub.do(lambda exchange: exchange.script.add([fault]))

    def price(self, rupees: int | Decimal) -> None:
        """A trade at the exchange."""
        self.stub.do(lambda exchange: _priced(exchange, Decimal(rupees)))

    def elsewhere(self, side: str, quantity: int, **changes: str) -> StubOrder:
        """An order by phone."""
        form = {
            "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": side, "quantity": str(quantity), "product": "MIS",
            "order_type": "MARKET", "market_protection": "5", **changes,
        }  # fmt: skip
        return self.stub.do(lambda exchange: exchange.desk.place(APP.user_id, "regular", form))

    def book(self) -> list[StubOrder]:
        """All orders at the exchange."""
        return self.stub.do(lambda exchange: [*exchange.desk.orders.values()])


@dataclass(slots=True)
class Live:
    """The room, the exchange behind it, and who is signed in.

    Attributes:
        room: the trading room.
        stub: the exchange.
        trader: Zerodha's.
        follower: the session.
        instrument: what is traded.
        boot: seconds that the boot clock is ahead of time.
        desk: the trader alone.
    """

    room: Room
    stub: ServerThread
    trader: ZerodhaTrader
    follower: SessionFollower
    instrument: Instrument
    boot: Counter[str]
    desk: Desk

    def horizon_passes(self) -> None:
        """So much time passes that an order that isn't shown counts as absent, once it was looked for often enough."""
        self.boot["seconds"] += 600

    def signal(self, number: int = 0, **changes: Any) -> Approved:
        """A verdict for Zerodha; the same numbers make the same verdict."""
        verdict = approved(number)
        key = replace(verdict.key, broker="zerodha", instrument_id=self.instrument.instrument_id)
        told = {"key": key, "instrument_token": self.instrument.instrument_token, **changes}
        return replace(verdict, **told)

    def exit(self, number: int = 1, **changes: Any) -> Approved:
        """A verdict that closes what `signal` opens."""
        return self.signal(number, side=Side.SELL, effect=PositionEffect.REDUCES, **changes)

    def fault(self, kind: str, **told: Any) -> None:
        """Lets something go wrong with the next orders."""
        fault = Fault(kind, **{"method": "POST", "path": "/orders/*", **told})
        self.stub.do(lambda exchange: exchange.script.add([fault]))

    def book(self) -> list[StubOrder]:
        """All orders at the exchange."""
        return self.stub.do(lambda exchange: [*exchange.desk.orders.values()])

    def held(self, product: str = "MIS") -> int:
        """Units that the exchange's own books hold."""
        return self.stub.do(
            lambda exchange: sum(
                one.quantity
                for one in exchange.desk.account(APP.user_id).positions.values()
                if one.product == product
            )
        )

    def price(self, rupees: Decimal) -> None:
        """A trade at the exchange."""
        self.stub.do(lambda exchange: _priced(exchange, rupees))

    async def signed_in(self, revision: int) -> None:
        """Signs in anew, as a person does."""
        self.follower.put(await asyncio.to_thread(session_at, self.stub, revision))

    async def order_when(self, verdict: Approved, has_come: Callable[[Order], bool]) -> Order:
        """The order of a verdict once something is true of it."""
        async with asyncio.timeout(30):
            while True:
                stored = await self.room.store.find(order_id_of(verdict.signal_id))
                if stored is not None and has_come(stored.order):
                    return stored.order
                await asyncio.sleep(0.02)


def session_at(stub: ServerThread, revision: int) -> KiteSession:
    """A session after a login at the exchange."""
    kite = KiteConnect(APP.api_key, root=stub.server.api_root)
    answer = requests.get(stub.server.login_url(APP.api_key), allow_redirects=False, timeout=20)
    token = parse_qs(urlsplit(answer.headers["Location"]).query)["request_token"][0]
    given = kite.generate_session(token, APP.api_secret)
    return KiteSession("default", revision, f"s{revision}", APP.api_key, given["access_token"])


def _priced(exchange: Exchange, rupees: Decimal) -> None:
    quote = exchange.market.by_key(SYMBOL)
    assert quote is not None
    exchange.market.set_price(quote.listed.instrument_token, rupees, exchange.clock.ns())


@asynccontextmanager
async def desk_at_the_stub(*, rows: int = 40, **options: Any) -> AsyncIterator[Desk]:
    """The trader, signed in; `options` are ZerodhaOptions, with horizons short enough for a test."""
    exchange = Exchange.of(clock=Clock(lambda: nanoseconds(NOON)), rows=rows, day=NOON.date())
    exchange.limits.enforced = False
    exchange.wanders = False
    with serving(exchange) as stub:
        kite = KiteOptions(
            api_root=stub.server.api_root,
            ws_root=stub.server.ws_root,
            budgets=OrderBudgets(per_second=10, kept_percent=0),
        )
        follower = SessionFollower("default", lambda: datetime.now(UTC))
        follower.put(await asyncio.to_thread(session_at, stub, 1))
        rest = KiteRest(
            kite, follower, structlog.get_logger(), time.monotonic, lambda: datetime.now(UTC), NOON.date
        )
        listed = stub.do(lambda one: one.market.by_key(SYMBOL).listed)  # type: ignore[union-attr]
        instrument = Instrument(
            SYMBOL, listed.instrument_token, "NSE", "INFY", "Infosys", "NSE", "EQ", Decimal("0.05"), 1, 0, "NSE_EQ"
        )  # fmt: skip
        directory = InstrumentDirectory([instrument])
        parts = ZerodhaParts(
            {"default": rest},
            KiteCharges(load_charge_rates()),
            lambda: directory,
            ZerodhaOptions(**{"visibility_seconds": 0.5, **options}),
            {"default": OrderUpdates("default", kite, follower, rest.finds_dead)},
        )
        yield Desk(stub, ZerodhaTrader("zerodha", parts), follower, directory, instrument)
        rest.stop()


@asynccontextmanager
async def at_the_stub(opened: Opened, **options: Any) -> AsyncIterator[Live]:
    """A room open for trading at the stub; options as of `desk_at_the_stub`."""
    boot: Counter[str] = Counter()
    async with desk_at_the_stub(**options) as desk:
        opening = opened(
            zerodha=desk.trader,
            instruments=desk.directory,
            options=UNHURRIED,
            boot=lambda: boot_clock() + boot["seconds"],
        )
        async with opening as room:
            await market_is(room, desk.instrument)
            for broker in ("paper", "papertwo", "zerodha"):
                await room.mirror.write(broker, TradingState.ACTIVE, 0)
            room.opted_in.add("zerodha")
            await room.executor.start()
            yield Live(room, desk.stub, desk.trader, desk.follower, desk.instrument, boot, desk)


async def market_is(room: Room, instrument: Instrument, at: datetime = NOON) -> None:
    """The market's time, and a price of the instrument."""
    moment, token = nanoseconds(at), instrument.instrument_token
    await room.prices.write([Frame("run", 0, 1, moment, 100, [token], [1500_00], [moment])])
