"""ReportSlippage: two brokers' fills of the same signals, from the books."""

from __future__ import annotations

from datetime import timedelta

import pytest
from portfolio_fills import OPENED, Fills
from portfolio_service import Market, Service

from alphapanda.contract.wire import timestamp
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.mesh.errors import NotFound
from alphapanda.portfolio.store.port import AccountName
from panda.portfolio.v1 import portfolio_pb2 as portfolio


@pytest.fixture
async def service(store, redis) -> Service:
    """A strategy has traded at a live broker, with paper as its shadow."""
    made = Service(store, "live", Market(), redis, brokers=["paper", "live"])
    live, paper = Fills("live"), Fills("paper")
    for fills, prices in ((live, ("100.10", "101.90", "50")), (paper, ("100", "102", "51"))):
        await made.fill(fills(1, 10, prices[0]), fills(2, -10, prices[1]))
        await made.fill(fills(3, 10, prices[2], strategy="other"))
    await made.fill(live(4, 5, "90"))
    await made.fill(paper(5, -5, "90"))
    return made


async def _report(service: Service, **fields) -> portfolio.ReportSlippageResponse:
    return await service.api.ReportSlippage(portfolio.ReportSlippageRequest(**fields), None)


async def test_the_fills_of_two_brokers_are_compared_pair_by_pair(service) -> None:
    """The only broker beside paper is measured: by pair, with sums, and with what filled at one of them alone."""
    report = await _report(service)
    assert (report.broker, report.shadow_broker, report.account) == ("live", "paper", "default")
    assert [pair.per_unit.value for pair in report.pairs] == ["-1.00", "0.10", "0.10"]
    assert (report.pair_count, report.only_live, report.only_shadow) == (3, 1, 1)
    assert (report.cost.amount.value, report.basis_points.value) == ("-8.00", "-31.62")
    assert not report.incomplete


async def test_a_report_is_of_a_strategy_and_a_time(service) -> None:
    """Filters leave out fills of both brokers alike; `limit` leaves out pairs, not sums."""
    ema = await _report(service, strategy_id="ema", limit=1)
    assert (len(ema.pairs), ema.pair_count, ema.cost.amount.value) == (1, 2, "2.00")
    late = await _report(
        service,
        since=timestamp(OPENED + timedelta(seconds=2)),
        until=timestamp(OPENED + timedelta(seconds=3)),
    )
    assert (late.pair_count, late.only_live, late.only_shadow) == (1, 0, 0)


async def test_what_cannot_be_compared_is_refused(service) -> None:
    """A broker with itself, one that isn't active, and an account that isn't open."""
    with pytest.raises(InvalidInput, match="another broker"):
        await _report(service, broker="paper")
    with pytest.raises(UnknownName, match="live"):
        await _report(service, broker="lives")
    with pytest.raises(NotFound, match="no open account"):
        await _report(service, account="second")


async def test_position_and_portfolio_say_when_a_fill_changed_them_last(service, store) -> None:
    """By market time, also of a position that is flat, and the same from the cache as from the database."""
    for _ in range(2):
        account = await service.portfolio()
        assert account.changed_at == timestamp(OPENED + timedelta(seconds=4))
        assert [one.changed_at for one in account.positions] == [
            timestamp(OPENED + timedelta(seconds=4)),
            timestamp(OPENED + timedelta(seconds=3)),
        ]
    positions = await store.positions(
        AccountName("paper", "default"), strategy_id="", include_flat=True, after=None, limit=9
    )
    assert [held.changed_at for held in positions] == [
        OPENED + timedelta(seconds=5),
        OPENED + timedelta(seconds=3),
    ]
