from __future__ import annotations

from datetime import timedelta

import grpc
import pytest
from tests.integration.risk.conftest import BROKERS, KEY
from tests.values import replace

from alphapanda.domain.order import OrderStatus
from alphapanda.risk.reservations import EXIT_GRACE, ReservationReleaser

MINUTE = timedelta(minutes=1)


@pytest.fixture
def keeper(risk, trading) -> ReservationReleaser:
    """A keeper that looks when it is told to."""
    return ReservationReleaser(risk.decisions, risk.store, trading, BROKERS)


async def _wants(risk, target: int, valid: timedelta = MINUTE) -> str:
    signal = replace(risk.signal(target), valid_until=risk.market.now + valid)
    await risk.raw(signal)
    return signal.signal_id


async def test_a_reservation_is_released_after_valid_until_and_by_trading_s_word(
    risk, trading, keeper
) -> None:
    """Before, trading isn't asked; then the key is free, and the target that waited for it is decided."""
    lost = await _wants(risk, 10)
    waiting = await _wants(risk, 20, timedelta(hours=1))
    risk.market.now += MINUTE
    assert await keeper.release_due() == []
    assert trading.asked == []
    risk.market.now += timedelta(seconds=1)
    assert await keeper.release_due() == [lost]
    assert [order.signal_id for order in await risk.validated()] == [lost, waiting]
    assert await risk.position() == 0
    assert await keeper.release_due() == []
    assert trading.asked == [lost]


async def test_a_reservation_stays_while_trading_has_the_order_or_does_not_answer(
    risk, trading, keeper
) -> None:
    """An order that trading has will be told of; without an answer nothing is known."""
    signal = await _wants(risk, 10)
    risk.market.now += 2 * MINUTE
    trading.error = grpc.RpcError()
    assert await keeper.release_due() == []
    trading.error = None
    trading.orders.add(signal)
    assert await keeper.release_due() == []
    [order] = await risk.validated()
    await risk.told(order, 10, OrderStatus.FILLED, 1)
    assert await risk.position() == 10
    trading.asked.clear()
    assert await keeper.release_due() == []
    assert trading.asked == []


async def test_an_order_that_was_told_of_is_never_asked_about(risk, trading, keeper) -> None:
    """What is open at the broker past its valid_until is trading's to end."""
    await _wants(risk, 10)
    [order] = await risk.validated()
    await risk.told(order, 0, OrderStatus.OPEN, 1)
    risk.market.now += 2 * MINUTE
    assert await keeper.release_due() == []
    assert trading.asked == []


async def test_an_exit_is_left_alone_for_longer(risk, trading, keeper) -> None:
    """Trading executes an exit that comes late, so it is asked only when that is no longer likely."""
    await _wants(risk, 10)
    [order] = await risk.validated()
    await risk.told(order, 10, OrderStatus.FILLED, 1)
    leaving = await _wants(risk, 0)
    risk.market.now += MINUTE + EXIT_GRACE
    assert await keeper.release_due() == []
    risk.market.now += timedelta(seconds=1)
    assert await keeper.release_due() == [leaving]
    assert await risk.position() == 10
    again = await _wants(risk, 0)
    assert (await risk.validated())[-1].signal_id == again
    assert (await risk.validated())[-1].key == KEY


async def test_an_unknown_market_time_releases_nothing(risk, trading, keeper) -> None:
    """Whether valid_until has passed isn't known then."""
    await _wants(risk, 10)
    risk.market.now = None
    assert await keeper.release_due() == []
    assert trading.asked == []
