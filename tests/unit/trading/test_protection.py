"""The core of a position's protection: its rules one by one, and a world that interleaves everything with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

import pytest
from msgspec.structs import replace

from alphapanda.domain.order import Side
from alphapanda.trading.core.protection import (
    KEPT_FOR_QUANTITY,
    MODIFICATIONS,
    MOST_EXITS,
    MOST_STEPS,
    Decision,
    Facts,
    Guard,
    OwnOrder,
    Standing,
    decide,
    is_covered,
    may_pass,
    with_levels,
)
from alphapanda.trading.core.protection_actions import (
    CancelEntry,
    CancelExit,
    CancelStop,
    End,
    ModifyStop,
    PlaceStop,
    Reason,
    SendExit,
)

LONG = Guard(Side.BUY, stop_loss=Decimal(95), target=Decimal(110))
SHORT = Guard(Side.SELL, stop_loss=Decimal(105), target=Decimal(90))
WORKING = OwnOrder(Standing.WORKING, 10, trigger=Decimal(95))


def test_the_stop_is_placed_with_the_first_partial_fill_and_follows_the_quantity() -> None:
    """Three of ten units: a stop of three; six: it is modified to six; what it filled itself stays in its quantity."""
    assert decide(LONG, Facts(3, entry_open=True)).action == PlaceStop(3, Decimal(95))
    stop = replace(WORKING, quantity=3)
    assert decide(LONG, Facts(6, stop, entry_open=True)).action == ModifyStop(6, Decimal(95))
    assert decide(LONG, Facts(3, stop)).action is None
    partly = replace(WORKING, quantity=6, filled=2)
    assert decide(LONG, Facts(4, partly)).action is None
    assert decide(LONG, Facts(7, partly)).action == ModifyStop(9, Decimal(95))


@pytest.mark.parametrize("waits", [Standing.UNDER_WAY, "changing"])
def test_nothing_is_decided_while_an_answer_about_the_stop_is_missing(waits: Standing | str) -> None:
    """Neither the target, nor a waiting exit, nor a new quantity touches a stop of which the answer isn't there."""
    stop = replace(WORKING, changing=True) if waits == "changing" else OwnOrder(Standing.UNDER_WAY, 10)
    for facts in (Facts(4, stop), Facts(10, stop, exit_waits=True), Facts(10, stop, price=Decimal(120))):
        assert decide(LONG, facts).action is None
        assert not may_pass(facts)


def test_the_target_cancels_the_stop_and_only_then_exits_what_is_left() -> None:
    """The exit has the units that are held after the stop's end: what the stop filled meanwhile isn't exited twice."""
    decision = decide(LONG, Facts(10, WORKING, price=Decimal(110)))
    assert isinstance(decision.action, CancelStop)
    guard = decision.guard
    assert guard.leaving is Reason.TARGET
    gone = replace(WORKING, standing=Standing.CANCELLED, filled=4)
    assert decide(guard, Facts(6, gone, price=Decimal(108))).action == SendExit(6, Reason.TARGET)
    away = OwnOrder(Standing.WORKING, 6)
    assert decide(guard, Facts(6, gone, away)).action is None
    assert decide(guard, Facts(0, gone, replace(away, standing=Standing.FILLED))).action == End(Reason.TARGET)


def test_an_exit_of_its_own_that_waits_at_the_exchange_makes_room_for_another() -> None:
    """An exit that waits for the next open is cancelled once, and the other exit passes when it has ended."""
    guard, gone = replace(LONG, leaving=Reason.TARGET), replace(WORKING, standing=Standing.CANCELLED)
    away = OwnOrder(Standing.WORKING, 10)
    waits = Facts(10, gone, away, exit_waits=True)
    assert decide(guard, waits).action == CancelExit()
    assert decide(guard, replace(waits, exit=replace(away, cancelling=True))).action is None
    ended = replace(waits, exit=replace(away, standing=Standing.CANCELLED))
    assert may_pass(ended)
    assert decide(guard, ended).action is None


def test_a_stop_that_has_triggered_is_not_moved_but_replaced_where_its_units_differ() -> None:
    """It fills as it is: a trail that goes on leaves it alone; units of a newer entry need another one."""
    filling = replace(WORKING, filled=4, triggered=True)
    assert decide(replace(LONG, stop_loss=Decimal(96)), Facts(6, filling)).action is None
    assert isinstance(decide(LONG, Facts(12, filling)).action, CancelStop)


def test_a_short_position_is_protected_the_other_way_round() -> None:
    """Its stop is above and its target below."""
    assert SHORT.exits_with is Side.BUY
    assert decide(SHORT, Facts(5, price=Decimal(100))).action == PlaceStop(5, Decimal(105))
    assert decide(SHORT, Facts(5, price=Decimal(106))).action == SendExit(5, Reason.STOPPED)
    working = OwnOrder(Standing.WORKING, 5, trigger=Decimal(105))
    assert decide(SHORT, Facts(5, working, price=Decimal(91))).action is None
    assert decide(SHORT, Facts(5, working, price=Decimal(90))).guard.leaving is Reason.TARGET


def test_another_exit_waits_for_the_stop_and_the_stop_comes_back_for_what_is_left() -> None:
    """A strategy's exit has the stop cancelled, passes when it is, and the rest of the position gets a stop again."""
    waits = Facts(10, WORKING, exit_waits=True)
    assert not may_pass(waits)
    assert isinstance(decide(LONG, waits).action, CancelStop)
    gone = replace(WORKING, standing=Standing.CANCELLED)
    passes = replace(waits, stop=gone)
    assert may_pass(passes)
    assert decide(LONG, passes).action is None
    assert decide(LONG, Facts(4, gone)).action == PlaceStop(4, Decimal(95))
    assert decide(LONG, Facts(0, gone)).action == End(Reason.CLOSED)


def test_rule_15_a_stop_that_the_exchange_ends_is_an_incident_with_an_alarm_and_an_exit() -> None:
    """A cancellation nobody asked for, a rejection and a stop that triggers and doesn't fill end at the market."""
    lost = decide(LONG, Facts(10, replace(WORKING, standing=Standing.LOST)))
    assert lost.action == SendExit(10, Reason.STOP_LOST)
    assert "exited at the market" in lost.alarm
    stuck = decide(LONG, Facts(10, replace(WORKING, stuck=True)))
    assert isinstance(stuck.action, CancelStop)
    assert stuck.guard.leaving is Reason.STOP_STUCK
    assert stuck.alarm


def test_rule_11_a_trailing_stop_budgets_its_modifications_then_cancels_and_replaces() -> None:
    """The trail keeps some of the 25 for changes of the quantity; after them another order takes the stop's place."""
    guard = Guard(Side.BUY, stop_loss=Decimal(95), trail=Decimal(5))
    decision = decide(guard, Facts(10, WORKING, price=Decimal(101)))
    assert decision.action == ModifyStop(10, Decimal("96.00"))
    assert decide(decision.guard, Facts(10, WORKING, price=Decimal("101.2"))).guard.stop_loss == Decimal(96)
    for spent in (MODIFICATIONS - KEPT_FOR_QUANTITY, MODIFICATIONS):
        used = replace(WORKING, modifications=spent)
        assert isinstance(decide(guard, Facts(10, used, price=Decimal(101))).action, CancelStop)
        grown = decide(guard, Facts(12, used)).action
        assert isinstance(grown, CancelStop if spent == MODIFICATIONS else ModifyStop)
    gone = replace(WORKING, standing=Standing.CANCELLED)
    assert decide(decision.guard, Facts(10, gone)).action == PlaceStop(10, Decimal(96))


def test_a_trail_never_moves_the_stop_back_and_stays_on_the_grid() -> None:
    """It follows the best price only, rounded away from it."""
    guard = Guard(Side.SELL, stop_loss=Decimal(105), trail=Decimal("4.98"))
    at = OwnOrder(Standing.WORKING, 10, trigger=Decimal(105))
    moved = decide(guard, Facts(10, at, price=Decimal("98.01"))).guard
    assert moved.stop_loss == Decimal("103.00")
    assert decide(moved, Facts(10, at, price=Decimal(102))).guard.stop_loss == Decimal("103.00")


def test_a_stop_that_was_filled_cancels_the_rest_of_the_entry_and_exits_what_still_fills() -> None:
    """Nobody is let into a position that has been stopped out."""
    filled = replace(WORKING, standing=Standing.FILLED, filled=10)
    decision = decide(LONG, Facts(0, filled, entry_open=True))
    assert isinstance(decision.action, CancelEntry)
    guard = decision.guard
    assert decide(guard, Facts(0, filled, entry_open=True, entry_cancelling=True)).action is None
    late = Facts(2, filled, entry_open=True, entry_cancelling=True)
    assert decide(guard, late).action == SendExit(2, Reason.STOPPED)
    assert decide(guard, Facts(0, filled)).action == End(Reason.STOPPED)


def test_a_stop_whose_day_is_over_comes_back_when_the_market_opens() -> None:
    """An expired stop is no incident; nothing is sent while the session is closed."""
    over = replace(WORKING, standing=Standing.EXPIRED)
    closed = decide(LONG, Facts(10, over, closed=True))
    assert (closed.action, closed.alarm) == (None, "")
    assert decide(LONG, Facts(10, over)).action == PlaceStop(10, Decimal(95))


def test_what_prevents_a_stop_or_an_exit_is_an_alarm_once() -> None:
    """A halted broker, and exits that the broker refuses: a person is told once, and the tries have pauses."""
    first = decide(LONG, Facts(10, blocked="broker 'paper' is HALTED"))
    assert first.action is None
    assert "HALTED" in first.alarm
    assert decide(first.guard, Facts(10, blocked="broker 'paper' is HALTED")).alarm == ""
    guard, refused = replace(LONG, leaving=Reason.TARGET), OwnOrder(Standing.LOST, 10)
    for _ in range(MOST_EXITS):
        decision = decide(guard, Facts(10, exit=refused, pausing=True))
        assert decision.action == SendExit(10, Reason.TARGET)
        guard = decision.guard
    given_up = decide(guard, Facts(10, exit=refused, pausing=True))
    assert given_up.action is None
    assert "can't be exited" in given_up.alarm
    assert decide(guard, Facts(10, exit=refused)).action == SendExit(10, Reason.TARGET)


def test_a_working_stop_stays_while_nothing_could_take_its_place() -> None:
    """A halted broker refuses a moved stop and each new one: to cancel the one that works would leave the position naked."""
    halted = "broker 'zerodha' is HALTED"
    refused = replace(WORKING, change_refused=True)
    for guard, facts in (
        (replace(LONG, stop_loss=Decimal(97)), Facts(10, refused, blocked=halted)),
        (replace(LONG, leaving=Reason.TARGET), Facts(10, WORKING, blocked=halted)),
        (LONG, Facts(10, WORKING, exit_waits=True, blocked=halted)),
        (LONG, Facts(14, refused, blocked=halted)),
    ):
        assert decide(guard, facts).action is None
    assert "covers 10 of 14" in decide(LONG, Facts(14, WORKING, blocked=halted)).alarm
    assert (
        "can't be exited (target)"
        in decide(replace(LONG, leaving=Reason.TARGET), Facts(10, WORKING, blocked=halted)).alarm
    )
    assert isinstance(
        decide(LONG, Facts(6, WORKING, blocked=halted)).action, CancelStop | ModifyStop
    )  # never beyond zero
    assert isinstance(decide(LONG, Facts(0, WORKING, blocked=halted)).action, CancelStop)


def test_newer_levels_replace_what_was_decided_on_the_older_ones() -> None:
    """Another entry's levels are in force for the whole position; a target that was reached is forgotten."""
    guard = with_levels(replace(LONG, leaving=Reason.TARGET), Decimal(99), Decimal(130), None)
    assert guard == Guard(Side.BUY, Decimal(99), Decimal(130))
    assert decide(guard, Facts(10, WORKING)).action == ModifyStop(10, Decimal(99))


@dataclass
class _AtExchange:
    """An order as the exchange has it, and as we know it."""

    kind: str
    quantity: int
    trigger: Decimal | None
    reached: bool = False
    filled: int = 0
    ended: Standing | None = None
    known: OwnOrder = field(init=False)
    asked: list[ModifyStop | CancelStop | CancelExit | CancelEntry] = field(default_factory=list)
    modifications: int = 0
    cancelling: bool = False

    def __post_init__(self) -> None:
        self.known = OwnOrder(Standing.UNDER_WAY, self.quantity, trigger=self.trigger)

    @property
    def leaves(self) -> int:
        """Units that may still fill at the exchange."""
        return 0 if self.ended is not None else self.quantity - self.filled


class _World:
    """An exchange, a strategy and a person around one protected long position; answers come late and in any order."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.guard = Guard(
            Side.BUY, Decimal(95), random.choice([None, Decimal(110)]), random.choice([None, Decimal(5)])
        )
        self.price = Decimal(100)
        self.held = 0  # at the exchange
        self.known_held = 0
        self.entry = _AtExchange("entry", random.randint(1, 30), None)
        self.stop: _AtExchange | None = None
        self.exit: _AtExchange | None = None
        self.other: _AtExchange | None = None
        self.exit_waits = 0
        self.ended: Reason | None = None
        self.alarms: list[str] = []
        self.blocked = False
        self.closing_orders: list[_AtExchange] = []

    def facts(self) -> Facts:
        known = self.other is not None and not self.other.known.standing.is_final
        entry_open = not self.entry.known.standing.is_final
        return Facts(
            self.known_held,
            None if self.stop is None else self.stop.known,
            None if self.exit is None else self.exit.known,
            price=self.price if self.random.random() < 0.7 else None,
            entry_open=entry_open,
            entry_cancelling=self.entry.cancelling,
            exit_waits=bool(self.exit_waits) or known,
            blocked="HALTED" if self.blocked else "",
        )

    def step(self) -> Decision:
        facts = self.facts()
        decision = decide(self.guard, facts)
        self.guard = decision.guard
        if decision.alarm:
            self.alarms.append(decision.alarm)
        self._carry_out(decision, facts)
        return decision

    def _carry_out(self, decision: Decision, facts: Facts) -> None:
        match decision.action:
            case PlaceStop(quantity, trigger):
                assert may_pass(facts)
                self.stop = _AtExchange("stop", quantity, trigger)
                self.closing_orders.append(self.stop)
            case SendExit(quantity, _):
                assert may_pass(facts)
                self.exit = _AtExchange("exit", quantity, None, reached=True)
                self.closing_orders.append(self.exit)
            case ModifyStop() | CancelStop() as change:
                assert self.stop is not None
                self.stop.asked.append(change)
                self.stop.known = replace(self.stop.known, changing=True)
                assert self.stop.modifications <= MODIFICATIONS
            case CancelExit() as change:
                assert self.exit is not None
                self.exit.asked.append(change)
                self.exit.cancelling = True
                self.exit.known = replace(self.exit.known, changing=True, cancelling=True)
            case CancelEntry() as change:
                self.entry.asked.append(change)
                self.entry.cancelling = True
            case End(reason):
                assert self.known_held == 0
                assert all(one.known.standing.is_final for one in self.closing_orders)
                self.ended = reason
        assert sum(one.leaves for one in self.closing_orders) <= self.held

    def other_exit(self) -> None:
        """The waiting exit passes where it may: at most the units that are known to be held."""
        if not self.exit_waits or not may_pass(self.facts()):
            return
        quantity, self.exit_waits = min(self.exit_waits, self.known_held), 0
        if quantity:
            self.other = _AtExchange("other", quantity, None, reached=True)
            self.closing_orders.append(self.other)
            assert sum(one.leaves for one in self.closing_orders) <= self.held

    def happen(self) -> None:
        """One thing happens at the exchange, or one answer arrives."""
        random = self.random
        orders = [one for one in (self.entry, self.stop, self.exit, self.other) if one is not None]
        one = random.choice(orders)
        what = random.random()
        if what < 0.25:
            self._fill(one)
        elif what < 0.6:
            self._answer(one)
        elif what < 0.75:
            self._tell(one)
        elif what < 0.9:
            self.price += Decimal(random.randint(-30, 32)) / 10
            if self.stop is not None and self.stop.trigger is not None and self.stop.known is not None:
                self.stop.reached |= self.price <= self.stop.trigger
        elif what < 0.93 and not self.exit_waits and self.ended is None:
            # Risk lets a position have one open order, so a second exit comes once the first has ended.
            if self.other is None or self.other.known.standing.is_final:
                self.exit_waits = random.randint(1, 40)
        elif what < 0.96 and one.kind in {"stop", "exit"} and one.ended is None:
            one.ended = Standing.LOST
        elif what < 0.98:
            self.blocked = random.random() < 0.3
        else:
            self.other_exit()

    def _fill(self, one: _AtExchange) -> None:
        if not one.leaves or (one.kind == "stop" and not one.reached):
            return
        units = self.random.randint(1, one.leaves)
        one.filled += units
        self.held += units if one.kind == "entry" else -units
        assert self.held >= 0
        if not one.leaves:
            one.ended = Standing.FILLED

    def _answer(self, one: _AtExchange) -> None:
        """A change that was asked for takes effect, or is refused, and its answer is there."""
        if not one.asked:
            self._tell(one)
            return
        change = one.asked.pop(0)
        refused = self.random.random() < 0.15
        if one.ended is None and not refused:
            if isinstance(change, ModifyStop):
                one.modifications += 1
                if change.quantity > one.filled:
                    one.quantity, one.trigger = change.quantity, change.trigger
            else:
                one.ended = Standing.CANCELLED
        self._tell(one, refused=refused)
        if refused and isinstance(change, CancelEntry):
            one.cancelling = False

    def _tell(self, one: _AtExchange, *, refused: bool = False) -> None:
        moved = one.filled - one.known.filled
        self.known_held += moved if one.kind == "entry" else -moved
        one.known = OwnOrder(
            one.ended or Standing.WORKING,
            one.quantity,
            one.filled,
            one.trigger,
            changing=bool(one.asked),
            modifications=one.modifications,
            change_refused=refused,
            triggered=one.kind == "stop" and one.filled > 0,
        )

    def come_to_rest(self) -> None:
        """Every answer arrives at once and nothing else happens, until there is nothing more to decide."""
        self.blocked = False
        for _ in range(3 * MOST_STEPS):
            for one in (self.entry, self.stop, self.exit, self.other):
                while one is not None and one.asked:
                    self._answer(one)
                if one is not None:
                    self._tell(one)
            self.other_exit()
            if self.ended is not None or self.step().action is None:
                return


@pytest.mark.parametrize("block", range(4))
def test_rule_9_no_interleaving_crosses_zero_exits_twice_or_leaves_a_position_naked(block: int) -> None:
    """Fills, partial fills, lost stops, refused changes, late answers, prices, a strategy's exits and halts, in any order."""
    reasons = set()
    for seed in range(block * 250, block * 250 + 250):
        world = _World(Random(seed))
        for _ in range(60):
            world.happen()
            if world.ended is None and world.random.random() < 0.6:
                world.step()
        world.come_to_rest()
        facts = world.facts()
        assert world.ended or world.guard.leaving or is_covered(world.guard, facts), (seed, facts)
        reasons.add(world.ended)
    assert {None, Reason.STOPPED, Reason.CLOSED, Reason.STOP_LOST} <= reasons


@pytest.mark.parametrize("block", range(2))
def test_units_held_are_protected_within_the_stated_number_of_decisions(block: int) -> None:
    """From any moment, once the answers are there: a stop of their number works, or they are exited, in MOST_STEPS decisions."""
    for seed in range(block * 200, block * 200 + 200):
        world = _World(Random(seed))
        for _ in range(world.random.randint(5, 40)):
            world.happen()
            if world.ended is None and world.random.random() < 0.6:
                world.step()
        world.exit_waits, world.blocked = 0, False
        for _ in range(MOST_STEPS):
            for one in (world.stop, world.exit, world.other, world.entry):
                while one is not None and one.asked:
                    world._answer(one)
                if one is not None:
                    world._tell(one)
            if world.other is not None and world.other.ended is None:
                world.other.ended = Standing.CANCELLED
                world._tell(world.other)
            if world.ended is not None or is_covered(world.guard, world.facts()):
                break
            world.step()
        covered = world.ended or is_covered(world.guard, world.facts())
        sent = world.exit is not None and world.exit.ended is None
        assert covered or sent, (seed, world.guard, world.facts())
