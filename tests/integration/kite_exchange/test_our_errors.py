"""Every error of Kite's through our own adapter, against the stub exchange: what each means, and that nothing is sent twice."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
import structlog
from tests.integration.kite_exchange.conftest import fixed_exchange
from tests.kite_exchange import control_routes
from tests.kite_exchange.exchange import APP, Exchange
from tests.kite_exchange.faults import Fault
from tests.kite_exchange.server import ServerThread, serving
from tests.unit.kite.test_outcomes import TABLE

from alphapanda.kite.limiter import CallKind
from alphapanda.kite.options import KiteOptions, OrderBudgets
from alphapanda.kite.outcomes import KiteError, KiteReason, KiteRefused, KiteUnknown
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import KiteSession, NoSession, SessionFollower

AMPLE = OrderBudgets(per_second=1_000, per_minute=100_000, per_day=100_000, kept_percent=0)
BUY: Mapping[str, Any] = {
    "variety": "regular", "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "quantity": 1,
    "product": "MIS", "order_type": "MARKET", "market_protection": 2, "tag": "t1",
}  # fmt: skip
CODES = [
    (status, "GeneralException", "Gone", KiteReason.BAD_REQUEST, False) for status in (404, 405, 410)
] + [
    (400, "HoldingException", "words that nobody has seen before", KiteReason.BAD_REQUEST, False),
    (504, "DataException", "bad answer of the OMS", KiteReason.NO_ANSWER, False),
    (504, "NetworkException", "Gateway timed out", KiteReason.NO_ANSWER, False),
]


@pytest.fixture(scope="module")
def shared() -> Iterator[ServerThread]:
    with serving(fixed_exchange(40)) as thread:
        yield thread


def signed_in(exchange: Exchange) -> str:
    """The access token after a login."""
    request_token = exchange.sessions.login(APP.api_key)
    checksum = sha256(f"{APP.api_key}{request_token}{APP.api_secret}".encode()).hexdigest()
    return exchange.sessions.begin(APP.api_key, request_token, checksum)[1]


@pytest.fixture
async def rest(shared: ServerThread) -> AsyncIterator[KiteRest]:
    """The adapter, signed in; a test may end its session."""
    follower = SessionFollower("default", lambda: datetime.now(UTC))
    token = shared.do(signed_in)
    follower.put(KiteSession("default", 1, "s1", APP.api_key, token, user_id=APP.user_id))
    root = shared.server.api_root
    options = KiteOptions(login_root=root, api_root=root, read_timeout_seconds=0.4, budgets=AMPLE)
    log, today = structlog.get_logger(), date(2026, 12, 1)
    made = KiteRest(options, follower, log, time.monotonic, lambda: datetime.now(UTC), lambda: today)
    yield made
    made.stop()
    shared.do(lambda exchange: exchange.script.clear())


def orders(stub: ServerThread) -> int:
    return stub.do(lambda exchange: len(exchange.desk.orders))


async def failed(rest: KiteRest, kind: CallKind = CallKind.ENTRY, **terms: Any) -> KiteError:
    """The error of an order."""
    with pytest.raises(KiteError) as error:
        await rest.place_order(kind, **{**BUY, **terms})
    return error.value


@pytest.mark.parametrize(
    ("status", "error_type", "words", "reason", "definite"), [row for row in TABLE if row[1]] + CODES
)
async def test_each_error_comes_through_as_what_it_means(
    shared: ServerThread,
    rest: KiteRest,
    status: int,
    error_type: str,
    words: str,
    reason: str,
    definite: bool,
) -> None:
    """Refused or unknown, with its reason, its status and Kite's words; one request was made."""
    before = orders(shared)
    fault = Fault("error", "POST", "/orders/*", status=status, error_type=error_type, message=words)
    shared.do(lambda exchange: exchange.script.add([fault]))
    error = await failed(rest)
    assert (type(error), error.reason) == (KiteRefused if definite else KiteUnknown, reason)
    assert (error.failure.status, error.failure.error_type) == (status, error_type)
    assert words in str(error)
    assert (orders(shared), fault.times) == (before, 0)
    if reason is KiteReason.SESSION_DEAD:
        with pytest.raises(NoSession, match="kite login"):
            await rest.place_order(CallKind.EXIT, **BUY)
    else:
        await rest.place_order(CallKind.EXIT, **BUY)


@pytest.mark.parametrize(
    ("kind", "placed"),
    [
        ("timed_out", 1), ("lost", 1), ("html_done", 1), ("cut", 1), ("slow", 1), ("slow_body", 1),
        ("no_content_type", 1), ("not_json", 1), ("html", 0), ("reset", 0), ("no_error_type", 0),
    ],
)  # fmt: skip
async def test_what_may_have_been_placed_is_unknown_and_is_not_sent_again(
    shared: ServerThread, rest: KiteRest, kind: str, placed: int
) -> None:
    """Whatever becomes of the answer: the order book, asked by its tag, tells whether there is an order, and there is one at most."""
    before = orders(shared)
    fault = Fault(kind, "POST", "/orders/*", seconds=0.1 if kind == "lost" else 0.7)
    shared.do(lambda exchange: exchange.script.add([fault]))
    error = await failed(rest, tag=kind.replace("_", ""))
    assert isinstance(error, KiteUnknown), error
    assert error.reason in {KiteReason.NO_ANSWER, KiteReason.BROKER_FAILED}
    book = await rest.orders()
    assert len([one for one in book if one["tag"] == kind.replace("_", "")]) == placed
    assert orders(shared) == before + placed


def only_from(*addresses: str) -> Callable[[Exchange], object]:
    return lambda exchange: control_routes.allowed_ips(
        exchange, {"api_key": APP.api_key, "allowed": list(addresses)}
    )


def somebody_else_orders(requests: int) -> Callable[[Exchange], object]:
    def spend(exchange: Exchange) -> None:
        exchange.limits.enforced = True
        exchange.limits.count_orders(APP.user_id, requests)
        if requests < 10:
            for _ in range(10):
                exchange.limits.count("order", APP.user_id)

    return spend


def unauthorised(exchange: Exchange) -> object:
    return control_routes.holdings(
        exchange,
        {"account": APP.user_id, "instrument": "NSE:TCS", "quantity": 10, "unauthorised": True},
    )


@pytest.mark.parametrize(
    ("before", "terms", "reason"),
    [
        (None, {"market_protection": None}, KiteReason.MARKET_PROTECTION),
        (None, {"market_protection": "yes"}, KiteReason.MARKET_PROTECTION),
        (None, {"order_type": "LIMIT", "price": 1500.003}, KiteReason.TICK_SIZE),
        (None, {"order_type": "LIMIT", "price": 1.0}, KiteReason.CIRCUIT),
        (None, {"quantity": "many"}, KiteReason.BAD_REQUEST),
        (None, {"quantity": 10_000_000}, KiteReason.FREEZE_QUANTITY),
        (None, {"product": "CNC", "quantity": 90_000}, KiteReason.INSUFFICIENT_FUNDS),
        (
            unauthorised,
            {"tradingsymbol": "TCS", "transaction_type": "SELL", "product": "CNC", "quantity": 10},
            KiteReason.NEEDS_DEPOSITORY,
        ),
        (only_from("10.0.0.1"), {}, KiteReason.SOURCE_ADDRESS),
        (only_from(), {}, KiteReason.SOURCE_ADDRESS),
        (somebody_else_orders(1), {}, KiteReason.RATE_LIMITED),
        (somebody_else_orders(5_000), {}, KiteReason.DAY_USED_UP),
    ],
)
async def test_what_the_exchange_refuses_is_refused_for_good(
    before: Callable[[Exchange], object] | None, terms: Mapping[str, Any], reason: KiteReason
) -> None:
    """Its own checks, in their own words: nothing is in the order book, and the reason says what has to change."""
    with serving(fixed_exchange(40)) as stub:
        follower = SessionFollower("default", lambda: datetime.now(UTC))
        follower.put(KiteSession("default", 1, "s1", APP.api_key, stub.do(signed_in), user_id=APP.user_id))
        root = stub.server.api_root
        rest = KiteRest(
            KiteOptions(login_root=root, api_root=root, budgets=AMPLE),
            follower, structlog.get_logger(), time.monotonic, lambda: datetime.now(UTC), lambda: date(2026, 12, 1),
        )  # fmt: skip
        if before is not None:
            stub.do(before)
        error = await failed(rest, **terms)
        rest.stop()
        assert (type(error), error.reason) == (KiteRefused, reason), error
        assert (error.limit is not None) is (reason is KiteReason.FREEZE_QUANTITY)
        assert orders(stub) == 0


async def test_a_question_for_too_much_and_one_modification_too_many_are_refused(
    shared: ServerThread, rest: KiteRest
) -> None:
    """Kite answers for 500 instruments and 60 days of minutes, and takes 25 modifications of an order."""
    with pytest.raises(KiteRefused) as error:
        await rest.quote([f"NSE:NO{number}" for number in range(501)])
    assert error.value.reason is KiteReason.TOO_MUCH_AT_ONCE
    until = datetime(2026, 11, 30, tzinfo=UTC)
    with pytest.raises(KiteRefused) as error:
        await rest.candles(408065, "minute", until - timedelta(days=70), until)
    assert error.value.reason is KiteReason.TOO_MUCH_AT_ONCE
    price = shared.do(lambda exchange: exchange.market.by_key("NSE:INFY").circuit[0])
    terms = {**BUY, "order_type": "LIMIT", "price": float(price), "market_protection": None}
    order_id = await rest.place_order(CallKind.ENTRY, **terms)
    for number in range(25):
        await rest.modify_order(CallKind.EXIT, variety="regular", order_id=order_id, quantity=number + 2)
    with pytest.raises(KiteRefused) as error:
        await rest.modify_order(CallKind.EXIT, variety="regular", order_id=order_id, quantity=1)
    assert error.value.reason is KiteReason.TOO_MANY_MODIFICATIONS
    assert await rest.cancel_order("regular", order_id) == order_id


def test_the_table_has_every_class_of_error() -> None:
    """As the facts list them, so that none is forgotten."""
    assert {error_type for _, error_type, *_ in [*TABLE, *CODES] if error_type} == {
        f"{name}Exception"
        for name in (
            "Token", "Permission", "User", "TwoFA", "Input", "Order", "Margin", "Holding", "Network", "Data", "General",
        )
    }  # fmt: skip
