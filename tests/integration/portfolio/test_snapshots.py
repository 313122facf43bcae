"""Snapshots, the day's profit, the equity curve, the cache and the proof of the books, on both stores."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from portfolio_service import INFY, IST, OPENED, Market, Service, stored_in
from sqlalchemy import text

from alphapanda.contract import wire
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.portfolio.core.snapshots import SnapshotCause, SnapshotClock
from alphapanda.portfolio.store.port import AccountName
from panda.events.v1.events_pb2 import Event
from panda.portfolio.v1 import portfolio_pb2 as portfolio

DAY = 24 * 3600


@pytest.fixture
async def service(store, fills, redis):
    """A started service."""
    service = Service(store, fills.broker, Market(), redis)
    await service.start()
    yield service
    await service.stop()


async def curve(service: Service, **more) -> list[tuple[str, int, str]]:
    request = portfolio.GetEquityCurveRequest(broker=service.broker, **more)
    return [
        (SnapshotCause(point.cause).name, int((wire.moment(point.market_time) - OPENED).total_seconds()),
         point.equity.amount.value)
        for point in (await service.api.GetEquityCurve(request, None)).points
    ]  # fmt: skip


def test_the_clock_says_what_is_due_once() -> None:
    """A day's start is due at its midnight in India, an interval at its start; what is settled isn't due again."""
    clock = SnapshotClock(timedelta(minutes=5), IST)
    morning = datetime(2024, 1, 2, 9, 17, tzinfo=IST)
    day, interval = clock.due(morning)
    assert clock.due(morning) == [day, interval]
    assert (day.cause, day.market_time) == (SnapshotCause.DAY_START, datetime(2024, 1, 2, tzinfo=IST))
    assert interval.market_time == datetime(2024, 1, 2, 9, 15, tzinfo=IST)
    clock.settled(morning)
    assert clock.due(morning + timedelta(minutes=2)) == []
    assert clock.due(morning - timedelta(days=1)) == []
    (later,) = clock.due(morning + timedelta(minutes=16))
    assert later.market_time == datetime(2024, 1, 2, 9, 30, tzinfo=IST)
    assert [due.cause.name for due in clock.due(morning + timedelta(days=1))] == ["DAY_START", "INTERVAL"]


async def test_an_interval_is_market_time(service, fills) -> None:
    """A day's first frame makes the day's snapshot, each five minutes of market time one more, at the marks before it."""
    await service.frame(INFY, "100", 0)
    await service.fill(fills(1, 10, "100"))
    await service.frame(INFY, "101", 299)
    await service.frame(INFY, "102", 301)
    await service.frame(INFY, "103", 400)
    await service.frame(INFY, "104", 1000)
    midnight = int((datetime(2024, 1, 2, tzinfo=IST) - OPENED).total_seconds())
    assert await curve(service) == [
        ("DAY_START", midnight, "1000000.00"),
        ("INTERVAL", 0, "1000000.00"),
        ("INTERVAL", 300, "1000010.00"),
        ("INTERVAL", 900, "1000030.00"),
    ]


async def test_fills_share_a_snapshot(service, fills) -> None:
    """Fills since the last look make one snapshot, of the newest revision; without fills there is none."""
    await service.frame(INFY, "100", 0)
    await service.fill(fills(1, 10, "100"))
    await service.fill(fills(2, -5, "110"))
    await service.snapshots.take_after_fills()
    await service.snapshots.take_after_fills()
    points = (
        await service.api.GetEquityCurve(portfolio.GetEquityCurveRequest(broker=service.broker), None)
    ).points
    last = points[-1]
    assert [SnapshotCause(point.cause).name for point in points] == ["DAY_START", "INTERVAL", "FILLS"]
    assert (last.revision, last.realised_pnl.amount.value, last.open_positions) == (3, "50.00", 1)


async def test_the_same_snapshot_is_published_once(engine, fills, redis) -> None:
    """Two processes that follow the same frames and fills store and publish each snapshot once, caused by what caused it."""
    one, two = (Service(stored_in(engine), fills.broker, Market(), redis) for _ in range(2))
    for service in (one, two):
        await service.start()
    for service in (one, two):
        await service.frame(INFY, "100", 0)
    await one.fill(fills(1, 10, "100"))
    two.snapshots.booked(one.snapshots._changed)
    for service in (one, two):
        await service.snapshots.take_after_fills()
        await service.stop()
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT value, key FROM portfolio.outbox ORDER BY seq"))
        events = [(Event.FromString(row.value), bytes(row.key)) for row in rows]
    assert [event.portfolio_snapshot.cause for event, _ in events] == [1, 2, 3]
    assert {(event.broker, key, bool(event.causation_id)) for event, key in events} == {
        (fills.broker, b"default", True)
    }


async def test_the_day_is_counted_from_its_start(service, fills) -> None:
    """Day P&L is equity less the equity at the day's first frame, marked before it: overnight gaps are of the new day."""
    await service.frame(INFY, "100", 0)
    await service.fill(fills(1, 10, "100", "1"))
    await service.frame(INFY, "105", 60)
    told = await service.portfolio()
    assert (told.trading_day, told.day_pnl.amount.value, told.profit.net_pnl.amount.value) == (
        "2024-01-02", "49.00", "49.00",
    )  # fmt: skip
    await service.frame(INFY, "98", DAY)
    told = await service.portfolio()
    assert (told.trading_day, told.day_pnl.amount.value, told.profit.net_pnl.amount.value) == (
        "2024-01-03", "-70.00", "-21.00",
    )  # fmt: skip


async def test_a_restart_does_not_begin_the_day_again(engine, fills, redis) -> None:
    """A process that starts within the day finds where it began; an account opened within it began with its cash."""
    market = Market()
    first = Service(stored_in(engine), fills.broker, market, redis)
    await first.start()
    await first.frame(INFY, "100", 0)
    await first.fill(fills(1, 10, "100"), fills(2, 10, "100", account="late"))
    await first.snapshots.take_after_fills()
    await first.stop()
    second = Service(stored_in(engine), fills.broker, market, redis)
    await second.start()
    await second.frame(INFY, "103", 120)
    for account in ("default", "late"):
        request = portfolio.GetPortfolioRequest(broker=fills.broker, account=account)
        assert (await second.api.GetPortfolio(request, None)).portfolio.day_pnl.amount.value == "30.00"
    await second.stop()


async def test_an_unknown_price_leaves_the_day_unknown(service, fills) -> None:
    """Without equity there is no day P&L; without market time there is no day."""
    assert not (await service.portfolio()).HasField("day_pnl")
    await service.frame(1, "1", 0)
    assert (await service.portfolio()).day_pnl.amount.value == "0.00"
    await service.fill(fills(1, 10, "100"))
    told = await service.portfolio()
    assert not told.HasField("day_pnl")
    assert told.trading_day == "2024-01-02"


async def test_the_curve_is_paged_and_cut(service) -> None:
    """Pages one after the other are the whole curve; start is inclusive, end exclusive; a token is bound to both."""
    for seconds in range(0, 2400, 300):
        await service.frame(INFY, "100", seconds)
    whole = await curve(service)
    assert len(whole) == 9
    request = portfolio.GetEquityCurveRequest(broker=service.broker, page_size=4)
    pages = []
    while True:
        page = await service.api.GetEquityCurve(request, None)
        pages.append(len(page.points))
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert pages == [4, 4, 1]
    start, end = (wire.timestamp(OPENED + timedelta(seconds=at)) for at in (300, 900))
    assert [at for _, at, _ in await curve(service, start_time=start, end_time=end)] == [300, 600]
    with pytest.raises(InvalidInput, match="page_token"):
        await curve(service, start_time=start, page_token=request.page_token)


async def test_portfolios_are_listed_by_account(service, fills) -> None:
    """Every account of the active brokers, page by page, without positions; a broker that isn't active is refused."""
    await service.fill(*(fills(n, 1, "10", account=f"a{n}") for n in range(1, 4)))
    request, names = portfolio.ListPortfoliosRequest(page_size=3), []
    while True:
        page = await service.api.ListPortfolios(request, None)
        names += [(one.broker, one.account) for one in page.portfolios]
        assert not any(one.positions for one in page.portfolios)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert names == [(service.broker, name) for name in ("a1", "a2", "a3", "default")]
    other = portfolio.ListPortfoliosRequest(broker="nobody")
    with pytest.raises(UnknownName, match=f"'nobody' is not allowed; allowed: {service.broker}"):
        await service.api.ListPortfolios(other, None)


async def test_the_cache_is_never_behind_the_books(service, fills, redis) -> None:
    """Books come from Redis while their revision stands; a fill makes them come from the store; without Redis they do."""
    await service.fill(fills(1, 10, "100.05", "1.5", strategy="b"), fills(2, -4, "90", strategy="a"))
    service.tick(INFY, "100", 9)
    first = await service.portfolio()
    (kept,) = [key for key in await redis.keys("portfolio:*") if key.endswith(b":3")]
    assert await service.portfolio() == first
    await service.fill(fills(3, 1, "100"))
    assert (await service.portfolio()).revision == 4
    await redis.set(kept, b"not read again")
    assert (await service.portfolio()).revision == 4


async def test_reconciliation_says_what_differs(engine, fills, redis) -> None:
    """Books that no longer follow from their ledger make the service not serving, until they do again."""
    service = Service(stored_in(engine), fills.broker, Market(), redis)
    await service.start()
    await service.reconciliation.prove()
    assert service.reconciliation.serving
    change = "UPDATE portfolio.accounts SET cash = cash + :by"
    for by in (1, -1):
        async with engine.begin() as connection:
            await connection.execute(text(change), {"by": by})
        await service.reconciliation.prove()
        assert service.reconciliation.serving is (by == -1)
        assert ("the ledger says" in service.reconciliation.last_error) is (by == 1)
    await service.stop()


async def test_day_starts_are_unique_in_the_store(store, fills) -> None:
    """The base of a day is None for no day, and the opening cash for an account that never saw a day begin."""
    name = AccountName(fills.broker, "default")
    assert await store.state(name, None) is None
    await store.open_account(name, Decimal(500))
    assert (await store.state(name, None)).day_base is None
    assert (await store.state(name, OPENED.date())).day_base == Decimal(500)
    assert (await store.revisions())[name] == 1
