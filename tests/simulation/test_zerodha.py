"""Zerodha's trader through what the stub exchange and people do to it; `python -m tests.simulation.zerodha` is the full form."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs
from tests.simulation.desk_rest import Fate
from tests.simulation.scenario import quiet
from tests.simulation.virtual import run_virtually
from tests.simulation.zerodha import World, run_seed, unclear_answers
from tests.simulation.zerodha_orders import run_seed as run_orders

from alphapanda.domain.order import OrderStatus


@pytest.mark.parametrize("seed", range(12))
def test_rule_9_no_duplicate_no_crossing_and_both_sides_equal(seed: int) -> None:
    """Unclear answers, hidden orders, partials, restarts, sales by phone and the broker's square-off, at any moment of ours."""
    assert run_seed(seed).violations == ()


@pytest.mark.parametrize("seed", range(4))
def test_rule_11_no_duplicate_no_crossing_and_no_position_without_its_stop(seed: int) -> None:
    """Stops, targets, limits, cancellations and modifications, while prices move, stops are lost, updates come as they like and the session dies."""
    assert run_orders(seed).violations == ()


def test_rule_9_a_stop_that_was_cut_to_what_zerodha_holds_is_not_made_larger_again() -> None:
    """A sale by phone couldn't be booked; the protection raised its stop to what our own books held, again and again, until it traded beyond zero."""
    assert run_orders(2110).violations == ()


@pytest.mark.parametrize("seed", [11799, 11973, 12390])
def test_rule_9_no_crossing_while_a_trade_elsewhere_cannot_be_booked(seed: int) -> None:
    """Seeds in which a working exit traded beyond zero when it was cut by our own books alone."""
    assert run_seed(seed).violations == ()


@pytest.mark.parametrize(("sold", "booked"), [(4, 4), (7, 7)])
def test_rule_9_a_working_exit_is_cut_by_what_zerodha_holds_while_our_books_wait(
    sold: int, booked: int
) -> None:
    """An order of ours in the instrument is UNKNOWN, so a sale by phone isn't booked: of seven units that work on, those that are held still trade."""
    with quiet():
        assert run_virtually(_sold_elsewhere(sold)) == (booked, 0, 0, [])


async def _sold_elsewhere(sold: int) -> tuple[int, int, int, list[str]]:
    """Units of the first strategy by our books, units of its exit that work, units held in the end, crossings."""
    fates = iter([Fate(), Fate(part=3), Fate("lost before")])
    world = World(lambda tag: next(fates, Fate()) if tag else Fate())
    await world.start()
    await world.wants("one", 10)
    await asyncio.sleep(5)
    await world.wants("one", 0)
    await asyncio.sleep(5)
    await world.wants("two", 5)
    await asyncio.sleep(5)
    assert [order.status for order in world.orders()][-1] is OrderStatus.UNKNOWN
    world.elsewhere("SELL", sold)
    await asyncio.sleep(10)
    booked = world.held("one")
    working = sum(
        order.quantity - order.filled
        for order in world.desk.orders.values()
        if order.tag and order.status == "OPEN"
    )
    world.trades_on()
    world.trades_on()
    await asyncio.sleep(1)
    held = world.held_there()
    await world.stop()
    return booked, working, held, world.crossed


def test_rule_9_an_exit_that_was_itself_unknown_is_cut_at_once_when_it_shows() -> None:
    """A sale by phone came while it was hidden: with the other exit that works it would trade beyond zero."""
    with quiet():
        assert run_virtually(_hidden_exit()) == (0, [])


async def _hidden_exit() -> tuple[int, list[str]]:
    """Units held in the end, crossings."""
    fates = iter([Fate(), Fate(), Fate(part=3), Fate("timed out", 60.0, part=1)])
    world = World(lambda tag: next(fates, Fate()) if tag else Fate())
    await world.start()
    for wanted in (10, 0):
        for strategy in ("one", "two"):
            await world.wants(strategy, wanted)
            await asyncio.sleep(5)
    world.elsewhere("SELL", 8)
    await asyncio.sleep(80)
    for _ in range(10):
        world.trades_on()
        await asyncio.sleep(0.1)
    held = world.held_there()
    await world.stop()
    return held, world.crossed


@pytest.mark.parametrize(("answer", "part"), [("timed out", 1), ("lost before", 0)])
def test_rule_9_no_exit_is_sent_beside_one_that_is_unknown_if_both_may_cross_zero(
    answer: str, part: int
) -> None:
    """It waits until the other one shows; one that never does is sent again after the horizon, by the positions as they are then."""
    with quiet():
        assert run_virtually(_beside_unknown(answer, part)) == (0, [])


async def _beside_unknown(answer: str, part: int) -> tuple[int, list[str]]:
    """Units held in the end, crossings."""
    fates = iter([Fate(), Fate(), Fate(answer, 60.0, part=part)])
    world = World(lambda tag: next(fates, Fate()) if tag else Fate())
    await world.start()
    for strategy in ("one", "two"):
        await world.wants(strategy, 10)
        await asyncio.sleep(5)
    await world.wants("one", 0)
    await asyncio.sleep(5)
    world.elsewhere("SELL", 9 if part else 10)
    await world.wants("two", 0)
    await asyncio.sleep(10)
    world.trades_on()
    await asyncio.sleep(400)
    for _ in range(10):
        world.trades_on()
        await asyncio.sleep(1)
    held = world.held_there()
    await world.stop()
    return held, world.crossed


def test_rule_9_a_working_exit_that_cannot_be_checked_is_an_alarm() -> None:
    """While positions can't be read nobody knows whether it may trade beyond zero: that is said once, and again after they were read."""
    with capture_logs() as logs:
        run_virtually(_unread())
    assert [one["event"] for one in logs if one["event"] == "order.exits_unchecked"] == [
        "order.exits_unchecked"
    ] * 2


async def _unread() -> None:
    """An exit works; positions can't be read for a minute, then they can, then they can't again."""
    fates = iter([Fate(), Fate(part=3)])
    unread = False

    def fate(tag: str) -> Fate:
        if tag:
            return next(fates, Fate())
        return Fate("unreachable") if unread else Fate()

    world = World(fate)
    await world.start()
    await world.wants("one", 10)
    await asyncio.sleep(5)
    await world.wants("one", 0)
    await asyncio.sleep(5)
    for now in (True, False, True):
        unread = now
        await asyncio.sleep(60)
    await world.stop()


def test_rule_2_orders_without_an_answer_end_in_their_true_state() -> None:
    """Half of the entries were accepted and are found, half are absent and never sent again; every exit ends flat (scorecard R3)."""
    survived = unclear_answers(12)
    assert survived.violations == ()
    assert (survived.unclear, survived.accepted) == (18, 9)
    assert survived.entries == {"FILLED": 6, "FAILED ABSENT": 6}
    assert survived.exits == {"FILLED": 6}
