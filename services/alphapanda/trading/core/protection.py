"""Decides what the protection of a position needs next: its stop rests at the exchange, its target is held here.

One protection covers one position. `decide` looks at what is known (units held, the stop, the exit, the price, whether another
exit waits) and returns at most one thing to do; whoever carries it out looks again and asks again. So it holds no history that
a restart could lose: what it must remember is `Guard`, a few values in the protection's row.

What holds whatever comes when, as long as the broker's answers are true:

- Never across zero: an exit is sent only when no other exit of the position can be at the exchange, for at most the units held.
- One cancels the other: the target's exit waits until the stop is certainly cancelled, and a strategy's or a person's exit does
  as well. What the stop filled meanwhile is no longer part of it.
- Always protected: units held have a working stop, or an exit on its way, once the answers to at most MOST_STEPS decisions are
  there. Where that can't be, there is an alarm that says why.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import IntEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from alphapanda.domain.order import Side
from alphapanda.trading.core.protection_actions import (
    Action,
    CancelEntry,
    CancelExit,
    CancelStop,
    End,
    ModifyStop,
    PlaceStop,
    Reason,
    SendExit,
)

MODIFICATIONS: Final = 25
"""Most modifications of one order that Zerodha allows [S]; the next change cancels it and places another."""

KEPT_FOR_QUANTITY: Final = 5
"""Modifications that a trailing stop leaves for changes of the quantity."""

TRAIL_STEPS: Final = 10
"""A trailing stop is moved once it is a tenth of the trail behind, so that each tick doesn't cost a modification."""

MOST_EXITS: Final = 3
"""Exits in a row that ended short before each further one waits for a pause: who repeats rejected orders is suspended."""

MOST_STEPS: Final = 4
"""Decisions within which units held are protected: cancel what is wrong, and place or send what is right, with a turn to spare."""


class Standing(IntEnum):
    """Where one of the protection's own orders stands."""

    UNDER_WAY = 1
    """It is about to be sent, or was sent and has no clear answer: it may be at the exchange."""
    WORKING = 2
    FILLED = 3
    CANCELLED = 4
    """It was cancelled because we asked."""
    EXPIRED = 5
    """Its trading day is over."""
    LOST = 6
    """The exchange cancelled or rejected it, and nobody here had asked."""
    NOT_SENT = 7
    """It ended before it reached the broker."""

    is_final: bool
    """Whether nothing of it can fill any more."""

    def __init__(self, number: int) -> None:
        self.is_final = number > 2  # noqa: PLR2004 - WORKING; members have no names yet in __init__


class OwnOrder(Struct, frozen=True, gc=False):
    """One of the protection's own orders, the stop or the exit, as trading knows it.

    Attributes:
        standing: where it stands.
        quantity: units ordered, filled ones included.
        filled: units filled.
        trigger: of a stop, rupees.
        changing: whether a modification or cancellation of it has no clear answer yet.
        cancelling: whether its cancellation was asked for.
        modifications: made and tried so far.
        change_refused: whether the broker refused the newest modification or cancellation.
        triggered: whether a stop is no longer waiting for its trigger: it is filling, and isn't moved any more.
        stuck: whether a stop has triggered and not filled within the time that it has.
    """

    standing: Standing
    quantity: int
    filled: int = 0
    trigger: Decimal | None = None
    changing: bool = False
    cancelling: bool = False
    modifications: int = 0
    change_refused: bool = False
    triggered: bool = False
    stuck: bool = False

    @property
    def leaves(self) -> int:
        """Units that may still fill."""
        return 0 if self.standing.is_final else self.quantity - self.filled

    @property
    def awaited(self) -> bool:
        """Whether an answer is missing, so that nothing may be decided about it."""
        return self.standing is Standing.UNDER_WAY or self.changing


class Facts(Struct, frozen=True, gc=False):
    """What is known of a protected position at a moment.

    Attributes:
        held: units held on the protected side, 0 or more; where the broker tells its own figure, the smaller one.
        stop: the newest stop; None if there never was one.
        exit: the newest exit; None if there never was one.
        price: last price in rupees; None: unknown, or not to be looked at now.
        best: the best price for the position since it was last looked at, such as a recorded bar's high; None: `price`.
        entry_open: whether entries that it protects may still fill.
        entry_cancelling: whether their cancellation was asked for.
        exit_waits: whether another order that reduces or flips the position is open: a strategy's, a person's, a square-off.
        closed: whether the instrument's session is closed, so that nothing can be sent.
        blocked: why nothing can be sent though the session is open (kill switch, broker not ready), in one line; else empty.
        pausing: whether the pause after an order that ended short isn't over.
        tick: the price grid's step at the trigger, rupees.
    """

    held: int
    stop: OwnOrder | None = None
    exit: OwnOrder | None = None
    price: Decimal | None = None
    best: Decimal | None = None
    entry_open: bool = False
    entry_cancelling: bool = False
    exit_waits: bool = False
    closed: bool = False
    blocked: str = ""
    pausing: bool = False
    tick: Decimal = Decimal("0.05")


class Guard(Struct, frozen=True, gc=False):
    """What a protection remembers.

    Attributes:
        side: side of the entry: BUY protects a long position.
        stop_loss: trigger of the stop, rupees; a trail has moved it. None: there is no stop.
        target: price at which the profit is taken; None: there is none.
        trail: distance in rupees by which the stop follows the best price; None: it stays.
        best: best price since the first fill, rupees; None: none seen. Only a trail needs it.
        leaving: why the whole position is exited; None: it is held.
        attempts: exits sent in a row, of which none has filled.
        alarmed: what the last alarm said; empty once the stop works.
    """

    side: Side
    stop_loss: Decimal | None = None
    target: Decimal | None = None
    trail: Decimal | None = None
    best: Decimal | None = None
    leaving: Reason | None = None
    attempts: int = 0
    alarmed: str = ""

    @property
    def exits_with(self) -> Side:
        """Side of the orders that close the position."""
        return Side.of(-self.side.sign)

    def is_through(self, price: Decimal, level: Decimal) -> bool:
        """Whether a price is at a stop's level, or beyond it to the bad side."""
        return (price - level) * self.side.sign <= 0

    def is_reached(self, price: Decimal, level: Decimal) -> bool:
        """Whether a price is at a target's level, or beyond it to the good side."""
        return (price - level) * self.side.sign >= 0


class Decision(Struct, frozen=True, gc=False):
    """The next thing to do.

    Attributes:
        guard: what is to be remembered.
        action: what to do; None: wait for an answer, a fill or a price.
        alarm: what a person has to know, one sentence; empty if there is nothing new.
    """

    guard: Guard
    action: Action | None = None
    alarm: str = ""


def decide(guard: Guard, facts: Facts) -> Decision:
    """Decides what a protection needs next. Answers on every input."""
    guard = _following(guard, facts)
    if facts.exit is not None and not facts.exit.standing.is_final:
        return _with_exit(guard, facts.exit, facts)
    guard, alarm = _judged(guard, facts)
    if guard.leaving is not None and facts.entry_open and not facts.entry_cancelling:
        return Decision(guard, CancelEntry(), alarm)
    if facts.stop is not None and not facts.stop.standing.is_final:
        return _with_stop(guard, facts.stop, facts, alarm)
    return _without_stop(guard, facts, alarm)


def may_pass(facts: Facts) -> bool:
    """Whether another exit of the position may be sent: none of the protection's own orders can be at the exchange."""
    return all(order is None or order.standing.is_final for order in (facts.stop, facts.exit))


def is_covered(guard: Guard, facts: Facts) -> bool:
    """Whether the units held have a working stop of their number, or an exit on its way, or need none."""
    if not facts.held or guard.stop_loss is None or facts.exit_waits:
        return True
    if facts.exit is not None and not facts.exit.standing.is_final:
        return True
    return (
        facts.stop is not None and facts.stop.standing is Standing.WORKING and facts.stop.leaves == facts.held
    )


def with_levels(
    guard: Guard, stop_loss: Decimal | None, target: Decimal | None, trail: Decimal | None
) -> Guard:
    """The guard with the levels of a newer entry; what was decided on the older ones is forgotten."""
    return Guard(guard.side, stop_loss, target, trail, guard.best if trail is not None else None)


def _following(guard: Guard, facts: Facts) -> Guard:
    """Follows the price: remembers the best one, and moves the stop after it."""
    price = facts.price if facts.best is None else facts.best
    if price is None or guard.trail is None or guard.stop_loss is None or not facts.held:
        return guard
    if guard.best is not None and (price - guard.best) * guard.side.sign <= 0:
        return guard
    sign = guard.side.sign
    wanted = price - sign * guard.trail
    away = ROUND_FLOOR if sign > 0 else ROUND_CEILING
    wanted = (wanted / facts.tick).to_integral_value(away) * facts.tick
    step = max(facts.tick, guard.trail / TRAIL_STEPS)
    if wanted > 0 and (wanted - guard.stop_loss) * sign >= step:
        return replace(guard, best=price, stop_loss=wanted)
    return replace(guard, best=price)


def _judged(guard: Guard, facts: Facts) -> tuple[Guard, str]:
    """Whether the position is to be left from now on, and the alarm that goes with it."""
    if guard.leaving is not None:
        return guard, ""
    stop = facts.stop
    reason, what = None, ""
    if stop is not None and stop.standing is Standing.FILLED:
        reason = Reason.STOPPED
    elif facts.held and stop is not None and stop.standing is Standing.LOST:
        reason, what = Reason.STOP_LOST, "the exchange ended the stop without being asked"
    elif facts.held and stop is not None and stop.standing is Standing.WORKING and stop.stuck:
        reason, what = Reason.STOP_STUCK, "the stop has triggered and doesn't fill"
    elif facts.held:
        reason = _touched(guard, facts)
    if reason is None:
        return guard, ""
    alarm = f"{what}: the position is exited at the market" if what else ""
    return replace(guard, leaving=reason, alarmed=alarm), alarm


def _touched(guard: Guard, facts: Facts) -> Reason | None:
    """Which level the price has reached: the target, or a stop that doesn't work at the exchange."""
    if facts.price is None:
        return None
    if guard.target is not None and guard.is_reached(facts.best or facts.price, guard.target):
        return Reason.TARGET
    stop = facts.stop
    works = stop is not None and not stop.standing.is_final and stop.trigger == guard.stop_loss
    if guard.stop_loss is not None and not works and guard.is_through(facts.price, guard.stop_loss):
        return Reason.STOPPED
    return None


def _with_exit(guard: Guard, exit_: OwnOrder, facts: Facts) -> Decision:
    """The exit is at the exchange, or may be. A stop beside it would be one too many: it is cancelled should there be one."""
    stop = facts.stop
    if stop is not None and stop.standing is Standing.WORKING and not stop.changing:
        return Decision(guard, CancelStop("an exit is on its way"))
    if facts.exit_waits and not (exit_.awaited or exit_.cancelling):
        return Decision(guard, CancelExit())
    if facts.entry_open and not facts.entry_cancelling:
        return Decision(guard, CancelEntry())
    return Decision(guard)


def _with_stop(guard: Guard, stop: OwnOrder, facts: Facts, alarm: str) -> Decision:
    """The stop is at the exchange, or may be."""
    if stop.awaited:
        return Decision(guard, None, alarm)
    trigger = guard.stop_loss
    if facts.blocked and facts.held and trigger is not None and stop.leaves <= facts.held:
        return _kept(guard, stop, facts, alarm)
    if not facts.held:
        why = "nothing is held any more"
    elif guard.leaving is not None:
        why = f"the position is left: {guard.leaving.value}"
    elif facts.exit_waits:
        why = "another exit waits for its end"
    else:
        why = ""
    if why or trigger is None:
        return Decision(guard, CancelStop(why or "no stop is wanted any more"), alarm)
    quantity = stop.filled + facts.held
    if stop.quantity == quantity and (stop.trigger == trigger or stop.triggered):
        return Decision(replace(guard, alarmed=""), None, alarm)
    kept = KEPT_FOR_QUANTITY if stop.quantity == quantity else 0
    if stop.triggered or stop.change_refused or stop.modifications >= MODIFICATIONS - kept:
        return Decision(
            guard, CancelStop("it can't be modified any more: another one takes its place"), alarm
        )
    return Decision(guard, ModifyStop(quantity, trigger), alarm)


def _kept(guard: Guard, stop: OwnOrder, facts: Facts, alarm: str) -> Decision:
    """What works stays while nothing could take its place, such as while the broker is HALTED."""
    if guard.leaving is not None:
        return _alarmed(
            guard, f"the position can't be exited ({guard.leaving.value}): {facts.blocked}", alarm
        )
    if stop.leaves < facts.held:
        return _alarmed(guard, f"the stop covers {stop.leaves} of {facts.held} units: {facts.blocked}", alarm)
    return Decision(guard, None, alarm)


def _without_stop(guard: Guard, facts: Facts, alarm: str) -> Decision:
    """Nothing of the protection's own is at the exchange."""
    if not facts.held and not facts.entry_open:
        return Decision(guard, End(guard.leaving or Reason.CLOSED), alarm)
    if not facts.held or facts.exit_waits or facts.closed:
        return Decision(guard, None, alarm)
    if guard.leaving is not None:
        return _exiting(guard, guard.leaving, facts, alarm)
    if guard.stop_loss is None:
        return Decision(guard, None, alarm)
    unsent = facts.stop is not None and facts.stop.standing is Standing.NOT_SENT and facts.pausing
    if facts.blocked or unsent:
        return _alarmed(guard, f"the position has no stop: {facts.blocked or 'it could not be sent'}", alarm)
    return Decision(guard, PlaceStop(facts.held, guard.stop_loss), alarm)


def _exiting(guard: Guard, reason: Reason, facts: Facts, alarm: str) -> Decision:
    attempts = guard.attempts
    if facts.exit is not None and facts.exit.standing is Standing.FILLED:
        attempts = 0
    if facts.blocked:
        return _alarmed(guard, f"the position can't be exited ({reason.value}): {facts.blocked}", alarm)
    if attempts >= MOST_EXITS and facts.pausing:
        ended = f"{attempts} exits in a row ended without filling"
        return _alarmed(guard, f"the position can't be exited ({reason.value}): {ended}", alarm)
    return Decision(replace(guard, attempts=attempts + 1), SendExit(facts.held, reason), alarm)


def _alarmed(guard: Guard, what: str, alarm: str) -> Decision:
    """Waits, and says why unless that was said before."""
    if guard.alarmed == what:
        return Decision(guard, None, alarm)
    return Decision(replace(guard, alarmed=what), None, alarm or what)
