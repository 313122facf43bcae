"""An account's calls against Kite's limits, counted by Kite's own clock."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections import Counter
from datetime import date

import pytest
from tests.kite_exchange.clock import Clock as StubClock
from tests.kite_exchange.limits import Limits

from alphapanda.kite.limiter import AccountLimiter, CallKind, DayUsedUp, LimiterCore, Ticket, TooManyWait
from alphapanda.kite.options import OrderBudgets

DAY = date(2026, 12, 1)
AMPLE = OrderBudgets(per_second=10, per_minute=400, per_day=5000, kept_percent=25)


def full_load(skew: float, seed: int, seconds: float, budgets: OrderBudgets, kind: CallKind) -> list[float]:
    """When Kite counts the calls of somebody who always has another one: times by Kite's clock.

    A call is counted somewhere between its sending and its answer, which takes 1 to 900 ms, now and then 7 s.
    """
    chance = random.Random(seed)
    core, now = LimiterCore(budgets, DAY), 0.0
    counted: list[float] = []
    under_way: list[tuple[float, int]] = []
    tickets: dict[int, Ticket] = {}
    while now < seconds:
        while under_way and under_way[0][0] <= now:
            at, number = heapq.heappop(under_way)
            core.answered(tickets.pop(number), at)
        wait = core.wait(kind, now) if core.left_today(kind, DAY) else math.inf
        if wait > 0:
            soonest = under_way[0][0] if under_way else math.inf
            if min(now + wait, soonest) == math.inf:
                break
            now = max(min(now + wait, soonest), now + 1e-6)
            continue
        tickets[len(counted)] = core.take(kind)
        takes = 7.0 if chance.random() < 0.002 else chance.uniform(0.001, 0.9) ** 3 + 0.001
        counted.append(now + skew + chance.random() * takes)
        heapq.heappush(under_way, (now + takes, len(counted) - 1))
    return counted


def counted_by_the_stub(counted: list[float], kind: str) -> Counter[str]:
    """What the stub exchange refuses of calls that come at these times of its clock, by its own count."""
    now = [0.0]
    limits = Limits(StubClock(lambda: round(now[0] * 1e9)), enforced=False)
    for at in counted:
        now[0] = at + 1_796_099_400
        limits.count(kind, "who")
    return limits.refused - Counter({"day": limits.refused["day"]})


@pytest.mark.parametrize(("skew", "seconds"), [(-0.9, 3600.0), (0.317, 300.0), (0.9, 3600.0)])
def test_an_hour_at_full_load_never_meets_a_429(skew: float, seconds: float) -> None:
    """No second of Kite's clock holds more than ten orders and no minute more than 400, however far our clock is off."""
    budgets = OrderBudgets(per_second=10, per_minute=400, per_day=1_000_000, kept_percent=0)
    counted = full_load(skew, seed=round(skew * 100), seconds=seconds, budgets=budgets, kind=CallKind.ENTRY)
    counted.sort()
    refused = counted_by_the_stub(counted, "order")
    assert not refused
    assert all(later - first > 60 for first, later in zip(counted, counted[400:], strict=False))
    assert len(counted) > seconds * 400 / 60 * 0.9  # and the minute's budget is used


@pytest.mark.parametrize(("kind", "most"), [(CallKind.QUOTE, 1), (CallKind.CANDLES, 3), (CallKind.OTHER, 10)])
def test_questions_have_limits_of_their_own(kind: CallKind, most: int) -> None:
    """Quotes, candles and all else are each counted apart from orders."""
    counted = sorted(full_load(0.4, seed=1, seconds=300.0, budgets=AMPLE, kind=kind))
    assert max(Counter(math.floor(at) for at in counted).values()) <= most
    names = {CallKind.QUOTE: "quote", CallKind.CANDLES: "historical", CallKind.OTHER: "other"}
    assert not counted_by_the_stub(counted, names[kind])


def test_rule_5_a_share_of_minute_and_day_is_kept_for_exits() -> None:
    """Entries end at three quarters; exits have the rest, until that is used up, too."""
    budgets = OrderBudgets(per_second=10, per_minute=20, per_day=40, kept_percent=25)
    core, now = LimiterCore(budgets, DAY), 0.0
    sent = Counter[CallKind]()
    for second in range(10):
        now = second * 2.0
        for kind in (CallKind.ENTRY, CallKind.EXIT):
            while sent[kind] < (15 if kind is CallKind.ENTRY else 5) + 3 and core.wait(kind, now) == 0:
                core.answered(core.take(kind), now)
                sent[kind] += 1
    assert sent == {CallKind.ENTRY: 15, CallKind.EXIT: 5}
    assert core.left_today(CallKind.ENTRY, DAY) == 10
    assert core.left_today(CallKind.EXIT, DAY) == 20
    assert core.left_today(CallKind.EXIT, date(2026, 12, 2)) == 40


def test_what_was_sent_before_a_restart_counts() -> None:
    """A new process doesn't begin the day anew."""
    assert LimiterCore(AMPLE, DAY, spent_today=3750).left_today(CallKind.ENTRY, DAY) == 0


class Clock:
    """A clock that never goes back, moved by a test; the event loop's is real."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_exits_go_before_entries() -> None:
    """Where orders wait, the next place is an exit's, though entries have waited for longer."""
    clock = Clock()
    budgets = OrderBudgets(per_second=1, per_minute=400, per_day=5000, kept_percent=25)
    limiter = AccountLimiter(LimiterCore(budgets, DAY), clock, lambda: DAY)
    first = await limiter.take(CallKind.ENTRY)
    came: list[str] = []

    async def waits(name: str, kind: CallKind) -> None:
        ticket = await limiter.take(kind)
        came.append(name)
        clock.now += 2
        limiter.give_back(ticket)
        clock.now += 2
        limiter.serve()

    tasks = [asyncio.create_task(waits(name, kind)) for name, kind in ORDER]
    await asyncio.sleep(0)
    limiter.give_back(first)
    clock.now += 2
    limiter.serve()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert came == ["exit 1", "exit 2", "entry 1", "entry 2"]


ORDER = [
    ("entry 1", CallKind.ENTRY),
    ("entry 2", CallKind.ENTRY),
    ("exit 1", CallKind.EXIT),
    ("exit 2", CallKind.EXIT),
]


async def test_who_leaves_while_waiting_takes_no_place() -> None:
    """A caller whose deadline passes makes room for the next."""
    clock = Clock()
    budgets = OrderBudgets(per_second=1, per_minute=400, per_day=5000, kept_percent=25)
    limiter = AccountLimiter(LimiterCore(budgets, DAY), clock, lambda: DAY)
    first = await limiter.take(CallKind.EXIT)
    leaving = asyncio.create_task(limiter.take(CallKind.EXIT))
    staying = asyncio.create_task(limiter.take(CallKind.EXIT))
    await asyncio.sleep(0)
    leaving.cancel()
    limiter.give_back(first)
    clock.now += 2
    limiter.serve()
    assert (await asyncio.wait_for(staying, 5)).windows


async def test_a_used_up_day_is_said_at_once() -> None:
    """Nobody waits for a place that comes tomorrow."""
    budgets = OrderBudgets(per_second=10, per_minute=400, per_day=4, kept_percent=50)
    limiter = AccountLimiter(LimiterCore(budgets, DAY), Clock(), lambda: DAY)
    for _ in range(2):
        await limiter.take(CallKind.ENTRY)
    with pytest.raises(DayUsedUp, match="entries"):
        await limiter.take(CallKind.ENTRY)
    await limiter.take(CallKind.EXIT)


async def test_a_thousand_may_wait_and_exits_beyond() -> None:
    """One more entry is refused at once; an exit is let in, before all of them."""
    budgets = OrderBudgets(per_second=1, per_minute=400, per_day=5000, kept_percent=25)
    limiter = AccountLimiter(LimiterCore(budgets, DAY), Clock(), lambda: DAY)
    await limiter.take(CallKind.ENTRY)
    waiting = [asyncio.create_task(limiter.take(CallKind.QUOTE)) for _ in range(1001)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyWait):
        await limiter.take(CallKind.ENTRY)
    exit_ = asyncio.create_task(limiter.take(CallKind.EXIT))
    await asyncio.sleep(0)
    assert not exit_.done()
    for task in (*waiting, exit_):
        task.cancel()
    await asyncio.gather(*waiting, exit_, return_exceptions=True)


def test_the_stub_counts_a_burst_too_many() -> None:
    """Eleven orders in a second are one too many, so that the test above can fail."""
    assert counted_by_the_stub([0.05 * number for number in range(11)], "order") == {"order": 1}
