"""How many calls an account may make to Kite, and whose turn it is.

Kite counts by seconds of its own clock (KITE_FACTS section 3.3), which nobody here knows. So a call takes its place when it is sent,
and gives it back a whole second after its *answer*: Kite has counted it somewhere in between. Two calls of which one is sent
a second or more after the other's answer can't be in one second of any clock, so no second of Kite's ever holds more
calls than there are places, whatever its clock shows and however long calls are on the way. Minutes work likewise.

Exits and cancels go before entries, and a share of the minute and of the day is theirs alone (REAL_MONEY rule 5).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import Final

from alphapanda.kite.options import OrderBudgets

MARGIN_SECONDS: Final = 0.01
"""Added to a second and a minute: clocks don't run equally fast, and ours is read before the call is on its way."""
MOST_WAITING: Final = 1000
"""Calls of an account that wait for their turn."""
QUOTES_PER_SECOND: Final = 1
CANDLES_PER_SECOND: Final = 3
OTHERS_PER_SECOND: Final = 10
"""Kite's own limits of what are no orders."""


class CallKind(IntEnum):
    """What a call is, the most urgent first."""

    EXIT = 1
    """Reduces a position, or cancels."""
    ENTRY = 2
    """Any other placing or modifying of an order."""
    QUOTE = 3
    CANDLES = 4
    OTHER = 5

    @property
    def is_order(self) -> bool:
        """Whether it counts as an order request."""
        return self in {CallKind.EXIT, CallKind.ENTRY}


class TooManyWait(Exception):
    """So many calls wait for their turn that one more would wait for too long; the message says how many."""


class DayUsedUp(Exception):
    """No order request of the day is left for this kind of call; the message says how many there were."""


@dataclass(slots=True)
class _Window:
    """Places that are taken by calls, and given back some time after their answers.

    Attributes:
        places: most calls in a window.
        kept: places that only exits may take.
        seconds: length of the window.
        open: calls without an answer yet.
        answered: when calls were answered whose places aren't given back yet, oldest first.
    """

    places: int
    kept: int
    seconds: float
    open: int = 0
    answered: list[float] = field(default_factory=list)

    def wait(self, kind: CallKind, now: float) -> float:
        """Seconds until a place may be free; 0: one is; inf: not before an answer."""
        gone = 0
        while gone < len(self.answered) and self.answered[gone] + self.seconds <= now:
            gone += 1
        del self.answered[:gone]
        places = self.places if kind is CallKind.EXIT else self.places - self.kept
        over = self.open + len(self.answered) - places + 1
        if over <= 0:
            return 0.0
        if over > len(self.answered):
            return math.inf
        return self.answered[over - 1] + self.seconds - now


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call that may be sent; `windows` hold its place until it is answered."""

    windows: tuple[_Window, ...]


class LimiterCore:
    """Decides when a call may be sent. Pure: times come from outside.

    Args:
        budgets: limits of order requests.
        today: the day in India.
        spent_today: order requests of today that were sent before, as after a restart.
    """

    def __init__(self, budgets: OrderBudgets, today: date, spent_today: int = 0) -> None:
        self._budgets = budgets
        self._day, self._spent = today, spent_today
        kept = math.ceil(budgets.per_minute * budgets.kept_percent / 100)
        orders = (
            _Window(budgets.per_second, 0, 1.0 + MARGIN_SECONDS),
            _Window(budgets.per_minute, kept, 60.0 + MARGIN_SECONDS),
        )
        self._windows: Mapping[CallKind, tuple[_Window, ...]] = {
            CallKind.EXIT: orders,
            CallKind.ENTRY: orders,
            CallKind.QUOTE: (_Window(QUOTES_PER_SECOND, 0, 1.0 + MARGIN_SECONDS),),
            CallKind.CANDLES: (_Window(CANDLES_PER_SECOND, 0, 1.0 + MARGIN_SECONDS),),
            CallKind.OTHER: (_Window(OTHERS_PER_SECOND, 0, 1.0 + MARGIN_SECONDS),),
        }

    def left_today(self, kind: CallKind, today: date) -> int:
        """Order requests that are left of the day for this kind of call."""
        if today != self._day:
            self._day, self._spent = today, 0
        kept = (
            0
            if kind is CallKind.EXIT
            else math.ceil(self._budgets.per_day * self._budgets.kept_percent / 100)
        )
        return max(0, self._budgets.per_day - kept - self._spent)

    def wait(self, kind: CallKind, now: float) -> float:
        """Seconds until a call may be sent; 0: now; inf: not before another is answered."""
        return max(window.wait(kind, now) for window in self._windows[kind])

    def take(self, kind: CallKind) -> Ticket:
        """Takes a place for a call for which `wait` was 0."""
        windows = self._windows[kind]
        for window in windows:
            window.open += 1
        if kind.is_order:
            self._spent += 1
        return Ticket(windows)

    def answered(self, ticket: Ticket, now: float) -> None:
        """Notes that a call was answered, or given up; its places are given back some time later."""
        for window in ticket.windows:
            window.open -= 1
            window.answered.append(now)

    @property
    def per_day(self) -> int:
        """Order requests of a day."""
        return self._budgets.per_day

    def places(self, kind: CallKind) -> int:
        """Places of the window that has fewest."""
        return min(one.places for one in self._windows[kind])

    def headroom(self, kind: CallKind, now: float) -> float:
        """Share of the places that are free, 0 to 1, of the fullest window."""
        self.wait(kind, now)
        return min(1 - (one.open + len(one.answered)) / one.places for one in self._windows[kind])


class AccountLimiter:
    """Lets an account's calls pass in turn: the most urgent first, among equals the oldest.

    Args:
        core: decides.
        monotonic: returns the seconds of a clock that never goes back.
        today: returns the day in India.
    """

    def __init__(self, core: LimiterCore, monotonic: Callable[[], float], today: Callable[[], date]) -> None:
        self._core = core
        self._monotonic = monotonic
        self._today = today
        self._waiting: list[tuple[int, int, CallKind, asyncio.Future[Ticket]]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, kind: CallKind) -> Ticket:
        """Waits for the turn of a call. Who has no time to wait cancels it.

        Raises:
            DayUsedUp: no order request of the day is left.
            TooManyWait: MOST_WAITING calls wait already; exits are taken all the same.
        """
        self._require_day(kind)
        if len(self._waiting) >= MOST_WAITING and kind is not CallKind.EXIT:
            raise TooManyWait(f"{len(self._waiting)} calls wait for their turn already")
        future: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        self._number += 1
        heappush(self._waiting, (int(kind), self._number, kind, future))
        self.serve()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.give_back(future.result())
            raise

    def give_back(self, ticket: Ticket) -> None:
        """Notes that a call was answered or has ended without an answer; its places are free some time later."""
        self._core.answered(ticket, self._monotonic())
        self.serve()

    def headroom(self, kind: CallKind) -> float:
        """Share of the places that are free, 0 to 1, of the fullest window."""
        return self._core.headroom(kind, self._monotonic())

    @property
    def per_day(self) -> int:
        """Order requests of a day."""
        return self._core.per_day

    def places(self, kind: CallKind) -> int:
        """Places of the window that has fewest."""
        return self._core.places(kind)

    def left_today(self, kind: CallKind) -> int:
        """Order requests that are left of the day for this kind of call."""
        return self._core.left_today(kind, self._today())

    def _require_day(self, kind: CallKind) -> None:
        if kind.is_order and not self._core.left_today(kind, self._today()):
            raise DayUsedUp(
                f"all order requests of the day for {'exits' if kind is CallKind.EXIT else 'entries'} are used up"
            )

    def serve(self) -> None:
        """Gives a turn to everybody whose call may be sent now, and sets the timer for the next."""
        now, soonest = self._monotonic(), math.inf
        kept = []
        while self._waiting:
            turn = heappop(self._waiting)
            _, _, kind, future = turn
            if future.done():
                continue
            if kind.is_order and not self._core.left_today(kind, self._today()):
                future.set_exception(
                    DayUsedUp("the last order request of the day was used up while this one waited")
                )
                continue
            wait = self._core.wait(kind, now)
            if wait <= 0:
                future.set_result(self._core.take(kind))
                continue
            soonest = min(soonest, wait)
            kept.append(turn)
        self._waiting = kept
        heapify(self._waiting)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if soonest < math.inf:
            self._timer = asyncio.get_running_loop().call_later(soonest, self.serve)
