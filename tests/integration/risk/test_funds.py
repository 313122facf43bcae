"""An account's funds in the stores: kept over restarts, moved once by each event, apart for each broker."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from tests.integration.risk.conftest import CASH, KEY, Risk
from tests.values import replace

from alphapanda.domain.funds import AccountFunds
from alphapanda.domain.order import OrderStatus
from alphapanda.resilience.failures import TransientFailure

D = Decimal
NOTHING = AccountFunds(CASH["paper"])


async def funds(risk: Risk, account: str = "default") -> AccountFunds:
    book, _ = await risk.decisions.inspect("paper", account)
    return book.funds["paper", account]


async def test_what_an_order_blocks_is_stored_and_released_once(risk: Risk) -> None:
    """An order blocks, its fill takes the block's place, a record that comes twice moves nothing, and an exit frees all."""
    await risk.raw(risk.signal(100))
    [order] = await risk.validated()
    assert await funds(risk) == replace(NOTHING, blocked=D("30000.00"))
    for _ in range(2):
        await risk.told(order, 40, OrderStatus.PARTIALLY_FILLED, 1)
        assert await funds(risk) == replace(NOTHING, margin=D(12000), blocked=D("18000.00"))
    await risk.told(order, 40, OrderStatus.CANCELLED, 2)
    assert await funds(risk) == replace(NOTHING, margin=D(12000))
    risk.market.price = D(1510)
    await risk.raw(risk.signal(0))
    *_, exits = await risk.validated()
    await risk.told(exits, 40, OrderStatus.FILLED, 1)
    assert await funds(risk) == replace(NOTHING, realised=D(400))


async def test_two_decisions_at_once_never_spend_the_same_rupee(risk: Risk) -> None:
    """Sixty strategies want 240,000 rupees each of ten million: 41 get it, whoever comes first."""
    names = [f"ema-{n}" for n in range(2, 62)]
    for name in names:
        await risk.strategy(1, strategy_id=name)
    wanted = [risk.signal(800, replace(KEY, strategy_id=name)) for name in names]
    await asyncio.gather(*(risk.raw(signal) for signal in wanted))
    after = await funds(risk)
    assert len(await risk.validated()) == 41
    assert after.blocked == 41 * D("240000.00")
    assert 0 <= after.available < D("240000.00")


async def test_a_live_brokers_account_has_no_funds_here(risk: Risk) -> None:
    """The rule asks nothing of a broker that keeps its own funds, and nothing of it counts at paper."""
    await risk.raw(risk.signal(5000, replace(KEY, broker="zerodha")))
    [order] = await risk.validated()
    await risk.told(order, 5000, OrderStatus.FILLED, 1)
    book, _ = await risk.decisions.inspect("zerodha", "default")
    assert book.funds == {}
    assert await funds(risk) == NOTHING


async def test_scarce_funds_go_by_name_and_not_by_partition(risk: Risk) -> None:
    """Signals of one moment are decided together: the first by name gets the money, whichever batch came first.

    A strategy whose revision isn't known yet waits by itself.
    """
    names = ("a", "b", "c")
    for name in names:
        await risk.strategy(1, strategy_id=name)
    signals = {name: risk.signal(5000, replace(KEY, strategy_id=name)) for name in (*names, "new")}
    risk.market.price = D(8000)  # 8,000,000 rupees of margin each, of ten million
    batches = (risk.raw(signals[name]) for name in ("c", "new", "b", "a"))
    outcomes = await asyncio.gather(*batches, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), TransientFailure, type(None), type(None)]
    assert [order.key.strategy_id for order in await risk.validated()] == ["a"]
