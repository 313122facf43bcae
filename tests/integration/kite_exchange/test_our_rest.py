"""Our own adapter against the stub exchange: at full load under a clock that is wrong, and through the end of a session."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import structlog
from tests.kite_exchange.clock import Clock
from tests.kite_exchange.exchange import APP, Exchange
from tests.kite_exchange.faults import DONE, NOT_DONE, Fault
from tests.kite_exchange.server import ServerThread, serving

from alphapanda.kite.client import KiteThreads
from alphapanda.kite.limiter import CallKind
from alphapanda.kite.login import KiteLogin
from alphapanda.kite.options import KiteApp, KiteOptions, OrderBudgets
from alphapanda.kite.outcomes import KiteError, KiteReason
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import KiteSession, NoSession, SessionFollower

TUESDAY_TEN = 1_796_099_400 * 1_000_000_000
"""1 December 2026, 10:00 in India."""
DAY = datetime.fromtimestamp(TUESDAY_TEN // 1_000_000_000, UTC).date()


async def next_session(stub: ServerThread, options: KiteOptions, revision: int) -> KiteSession:
    """A session after a login by our own code."""
    threads = KiteThreads(options, 1, 5.0, "login")
    login = KiteLogin(options, KiteApp("default", APP.api_key, APP.api_secret), "", threads)
    page = login.login_url("s.1")
    answer = await asyncio.to_thread(requests.get, page, allow_redirects=False, timeout=20)
    back = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert back["state"] == ["s.1"]
    given = await login.exchange(back["request_token"][0])
    threads.stop()
    return KiteSession(
        "default", revision, f"s{revision}", given.api_key, given.access_token, user_id=given.broker_user_id
    )


@asynccontextmanager
async def signed_in(
    exchange: Exchange, budgets: OrderBudgets
) -> AsyncIterator[tuple[ServerThread, KiteOptions, SessionFollower, KiteRest]]:
    """The adapter, signed in to an exchange."""
    with serving(exchange) as stub:
        options = KiteOptions(
            login_root=stub.server.api_root,
            api_root=stub.server.api_root,
            read_timeout_seconds=20.0,
            budgets=budgets,
        )
        follower = SessionFollower("default", lambda: datetime.now(UTC))
        follower.put(await next_session(stub, options, 1))
        rest = KiteRest(
            options, follower, structlog.get_logger(), time.monotonic, lambda: datetime.now(UTC), lambda: DAY
        )
        yield stub, options, follower, rest
        rest.stop()


async def resting_price(rest: KiteRest) -> float:
    """A price within the day's range at which nobody sells."""
    return round((await rest.ltp(["NSE:INFY"]))["NSE:INFY"]["last_price"] * 0.97)


async def ordered(rest: KiteRest, number: int, price: float) -> str:
    """Places an order that rests."""
    return await rest.place_order(
        CallKind.ENTRY,
        variety="regular",
        exchange="NSE",
        tradingsymbol="INFY",
        transaction_type="BUY",
        quantity=1,
        product="MIS",
        order_type="LIMIT",
        price=price,
        tag=f"t{number}",
    )


@pytest.mark.parametrize("skew", [-0.9, 0.9])
async def test_full_load_meets_no_429(skew: float) -> None:
    """As many orders as there may be, for some seconds, by a clock of the exchange's that is 900 ms off: it refuses none."""
    offset = TUESDAY_TEN - time.time_ns() + int(skew * 1e9)
    exchange = Exchange.of(clock=Clock(lambda: time.time_ns() + offset), rows=40)
    budgets = OrderBudgets(per_second=10, per_minute=400, per_day=5000, kept_percent=0)
    reasons: Counter[str] = Counter()
    async with signed_in(exchange, budgets) as (stub, _, _, rest):
        price, until = await resting_price(rest), time.monotonic() + 2.5

        async def customer(number: int) -> None:
            while time.monotonic() < until:
                try:
                    await ordered(rest, number, price)
                    reasons["placed"] += 1
                except KiteError as error:
                    reasons[error.reason] += 1

        await asyncio.gather(*(customer(number) for number in range(30)))
        busiest, refused = stub.do(lambda one: (one.limits.busiest["order"], +one.limits.refused))
    assert KiteReason.RATE_LIMITED not in reasons
    assert (refused, busiest <= 10) == ({}, True)
    assert reasons["placed"] == sum(reasons.values()) >= 20


async def test_calls_heal_after_a_login_alone() -> None:
    """A session that ends under load costs the calls under way; nobody calls with it again, and a login heals all of them."""
    exchange = Exchange.of(clock=Clock(lambda: TUESDAY_TEN), rows=40)
    exchange.limits.enforced = False
    budgets = OrderBudgets()
    came: Counter[str] = Counter()
    async with signed_in(exchange, budgets) as (stub, options, follower, rest):
        over = asyncio.Event()

        async def customer() -> None:
            while not over.is_set():
                try:
                    await rest.orders()
                    came[follower.newest.session_id] += 1
                except NoSession:
                    came["nobody"] += 1
                    await follower.live()
                except KiteError as error:
                    came[error.reason] += 1

        customers = [asyncio.create_task(customer()) for _ in range(6)]
        await reached(lambda: came["s1"] >= 6)
        stub.do(lambda one: one.sessions.end(APP.api_key))
        await reached(lambda: follower.newest.access_token is None)
        refused = came[KiteReason.SESSION_DEAD]
        follower.put(replace(await next_session(stub, options, 2), session_id="s2"))
        await reached(lambda: came["s2"] >= 6)
        over.set()
        await asyncio.gather(*customers)
    assert came[KiteReason.SESSION_DEAD] <= refused + 6  # those that were under way
    assert came["nobody"] <= 6
    assert {name for name, number in came.items() if number} <= {
        "s1",
        "s2",
        "nobody",
        KiteReason.SESSION_DEAD,
    }


async def test_what_became_of_an_order_is_never_said_wrongly() -> None:
    """Each thing that can go wrong, once: nothing that was placed counts as refused, and its tag finds what is unknown."""
    exchange = Exchange.of(clock=Clock(lambda: TUESDAY_TEN), rows=40)
    exchange.limits.enforced = False
    budgets, kinds = OrderBudgets(per_second=10), [*NOT_DONE, *DONE]
    outcomes: dict[str, str] = {}
    async with signed_in(exchange, budgets) as (stub, _, _, rest):
        price = await resting_price(rest)
        for number, kind in enumerate(kinds):
            fault = Fault(
                kind, method="POST", path="/orders/*", seconds=0.2, status=0 if kind != "error" else 400
            )
            stub.do(lambda one, fault=fault: one.script.add([fault]))
            try:
                outcomes[kind] = f"order {await ordered(rest, number, price)}"
            except KiteError as error:
                outcomes[kind] = type(error).__name__
        placed = {kinds[int(row["tag"].removeprefix("t"))] for row in await rest.orders()}
    assert placed == {*DONE}
    assert [kind for kind in placed if outcomes[kind] == "KiteRefused"] == []
    assert [kind for kind in NOT_DONE if outcomes[kind].startswith("order")] == []
    assert outcomes["timed_out"] == outcomes["lost"] == outcomes["cut"] == "KiteUnknown"


async def reached(done: Callable[[], bool]) -> None:
    """Waits until something is so, of which only a look can tell."""
    async with asyncio.timeout(60):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
