"""The simulated world: processes that live, freeze and die, a network that delays and loses, and the story of it all.

A message to a server (database, log, exchange, cache) leaves its process at once and arrives when the network pleases,
whatever becomes of the sender meanwhile. Before a message leaves, once it has left and when its answer comes, chance
may kill the sender or freeze it: those are all the places where a process waits.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

from tests.simulation.loop import CURRENT, Condition, Process, SeededLoop
from tests.values import replace

from alphapanda.resilience.failures import is_transient

T = TypeVar("T")

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
"""Wall and market time at virtual second 0: noon in India, on a trading day."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely what goes wrong is. Probabilities are per message to a server.

    Attributes:
        crash: its sender dies.
        freeze: its sender is frozen.
        lost: it doesn't arrive; the sender gets an error.
        unanswered: it arrives and does its work, the sender gets an error.
        slow: it takes up to `slow_seconds`.
        late: an unanswered message arrives only after the sender was told of the error.
        broker_unclear: a broker call gets no clear answer, accepted or not.
        broker_overdue: of those, an order is shown only after the time within which the broker says it is.
        broker_rejects: a broker refuses an order.
        broker_partial: it fills a part now, the rest later or never.
        broker_cancels_stops: a stop is cancelled when it triggers.
        eviction: per second, a group member is taken for dead though it lives.
        rewind: a partition that changes hands is read again from up to 5 records earlier.
        cache_away: the price cache or the mirror can't be read.
        target: a step (a part of its name) that goes wrong in one of the first four ways more often than others.
        target_rate: how often.
        gone: a process that dies while another of its kind lives doesn't come back.
        most_freezes: in a run.
        most_crashes: in a run.
    """

    crash: float = 0.0
    freeze: float = 0.0
    lost: float = 0.0
    unanswered: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 2.0
    late: float = 0.0
    broker_unclear: float = 0.0
    broker_overdue: float = 0.0
    broker_rejects: float = 0.0
    broker_partial: float = 0.0
    broker_cancels_stops: float = 0.0
    eviction: float = 0.0
    rewind: float = 0.0
    cache_away: float = 0.0
    target: str = ""
    target_rate: float = 0.0
    gone: float = 0.0
    most_freezes: int = 4
    most_crashes: int = 6


NONE = Faults()


def swarm(chance: Random) -> Faults:
    """A seed's own mixture: some kinds of fault are left out, so that the others are not drowned by them."""

    def rate(most: float) -> float:
        return chance.random() * most if chance.random() < 0.6 else 0.0

    return Faults(
        crash=rate(0.01),
        freeze=rate(0.01),
        lost=rate(0.05),
        unanswered=rate(0.05),
        slow=rate(0.1),
        late=rate(0.5),
        broker_unclear=rate(0.6),
        broker_overdue=rate(0.3),
        broker_rejects=rate(0.2),
        broker_partial=rate(0.3),
        eviction=rate(0.02),
        rewind=rate(0.5),
        cache_away=rate(0.1),
        gone=rate(0.5),
        target=chance.choice(TARGETS),
        target_rate=rate(0.3),
        broker_cancels_stops=rate(0.3),
    )


TARGETS = (
    "SUBMITTING",
    "SUBMITTING",
    "SUBMITTING",
    "SUBMITTING",
    "CALLING",
    "CALLING",
    "CALLING",
    "CALLING",
    "changes.",
    "protections.",
    "cancel",
    "modify",
    "add order",
    "save order",
    "place",
    "look up",
    "publish",
    "mark published",
    "commit offsets",
    "risk.commit",
    "portfolio.commit",
    "kill_switch",
)
"""Steps that a seed may have it in for."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story: virtual seconds, who, doing what, what went wrong (empty: nothing), what came of it."""

    at: float
    process: str
    step: str
    fault: str
    effect: str

    def text(self) -> str:
        """For people."""
        fault = f"!! {self.fault}" if self.fault else ""
        return f"{self.at:10.4f}  {self.process:<12} {self.step:<46} {fault:<34} {self.effect}".rstrip()


@dataclass(slots=True)
class Violation(Exception):
    """An invariant that doesn't hold."""

    invariant: str
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.detail}"


class ProcessIsDead(BaseException):
    """What a dead process's last gasps get for an answer."""


Start = Callable[[Process], Awaitable[None]]


@dataclass(slots=True)
class Machine:
    """Something that keeps a process running: starts it, and again after it died."""

    name: str
    start: Start
    process: Process | None = None
    lives: int = 0
    gone: bool = False


class World:
    """Everything of one seed.

    Args:
        seed: decides all.
        faults: what may go wrong; None: the seed's own mixture.
    """

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        self.seed = seed
        self.chance = Random(seed)
        self.faults = faults if faults is not None else swarm(self.chance)
        self.outside = Process("outside")
        self.loop = SeededLoop(self.chance, self.outside)
        self.story: list[Line] = []
        self.names: dict[str, str] = {}
        self.machines: dict[str, Machine] = {}
        self.violations: list[Violation] = []
        self.crashes = self.freezes = 0
        self.counts: dict[str, int] = {}

    # -- clocks -------------------------------------------------------------------------------------------------------

    def boot_clock(self) -> float:
        """Seconds since boot, suspension included."""
        return self.loop.time()

    def wall_clock(self) -> datetime:
        """Wall time."""
        return NOON + timedelta(microseconds=int(self.loop.time() * 1e6))

    # -- the story ----------------------------------------------------------------------------------------------------

    def tell(self, step: str, *, fault: str = "", effect: str = "", process: Process | None = None) -> None:
        """Adds a line."""
        who = process or CURRENT.get(self.outside)
        self.story.append(Line(self.loop.time(), str(who), step, fault, effect))
        if fault:
            kind = fault.partition(":")[0]
            self.counts[kind] = self.counts.get(kind, 0) + 1

    def violated(self, invariant: str, detail: str) -> None:
        """Notes that an invariant doesn't hold."""
        self.violations.append(Violation(invariant, detail))
        self.tell(f"VIOLATED {invariant}", fault=detail)

    def named(self, identity: str) -> str:
        """A short name for an id, where it has one."""
        return self.names.get(identity, identity[:8])

    def trace(self) -> str:
        """A digest of everything that happened: each line, each turn, and what chance would say next."""
        digest = hashlib.sha256()
        for line in self.story:
            digest.update(repr(line).encode())
        digest.update(f"{self.loop.turns} {self.loop.time()!r} {self.chance.random()!r}".encode())
        return digest.hexdigest()

    def at_peace(self) -> None:
        """Nothing goes wrong from now on."""
        self.faults = replace(NONE)

    def happens(self, probability: float) -> bool:
        """Whether something of this probability happens now."""
        return probability > 0 and self.chance.random() < probability

    # -- processes ----------------------------------------------------------------------------------------------------

    def run(self, name: str, start: Start) -> None:
        """Keeps a process of this name running."""
        machine = Machine(name, start)
        self.machines[name] = machine
        self._begin(machine)

    def crash(self, process: Process, why: str) -> None:
        """Kills a process where it stands; its machine starts another one."""
        if process.condition is Condition.DEAD or process is self.outside:
            return
        process.condition = Condition.DEAD
        self.crashes += 1
        self.tell(why, fault="crash", process=process)
        self._outside_soon(0.0, self._bury, process)

    def freeze(self, process: Process, why: str) -> None:
        """Stops a process for a while."""
        if process.condition is not Condition.RUNNING or process is self.outside:
            return
        process.condition = Condition.FROZEN
        self.freezes += 1
        aimed_at = self.faults.target and self.faults.target in why
        usual = (30.0, 60.0, 150.0) if aimed_at else (0.5, 3.0, 30.0, 60.0, 150.0)
        seconds = self.chance.choice(usual) * (0.5 + self.chance.random())
        self.tell(why, fault=f"frozen: for {seconds:.1f} s", process=process)
        self._outside_soon(seconds, self._thaw, process)

    def tasks_nobody_asked(self) -> list[str]:
        """The tasks of the living that ended by an error which nobody has looked at."""
        lives = [machine.process for machine in self.machines.values() if machine.process]
        ended = [task for life in (*lives, self.outside) for task in life.tasks if task.done()]
        unseen: Any = [
            task for task in ended if not task.cancelled() and getattr(task, "_log_traceback", False)
        ]
        return [f"{task.get_coro().__qualname__}: {task.exception()!r}" for task in unseen]

    def anybody_frozen(self) -> bool:
        """Whether a process is frozen now."""
        lives = (machine.process for machine in self.machines.values())
        return any(process and process.condition is Condition.FROZEN for process in lives)

    def _thaw(self, process: Process) -> None:
        if process.condition is Condition.FROZEN:
            self.tell("thaws", process=process)
            self.loop.thaw(process)

    def _bury(self, process: Process) -> None:
        self.loop.kill(process)
        machine = self.machines.get(process.name)
        if machine is not None and machine.process is process:
            if self._has_a_twin(machine) and self.happens(self.faults.gone):
                self.tell("does not come back", fault="gone", process=process)
                machine.gone = True
                return
            self._outside_soon(0.2 + self.chance.random() * 5.0, self._begin, machine)

    def _has_a_twin(self, machine: Machine) -> bool:
        """Whether another process of its kind is to stay."""
        kind = machine.name.partition("-")[0]
        kin = (one for one in self.machines.values() if one.name.partition("-")[0] == kind)
        return any(one is not machine and not one.gone for one in kin)

    def _begin(self, machine: Machine) -> None:
        machine.lives += 1
        process = machine.process = Process(machine.name, machine.lives)
        self.tell("starts", process=process)
        task = self.loop.spawn(process, self._started(machine.start, process))
        task.add_done_callback(lambda done: self._fell(process, done), context=self.outside.context.copy())

    async def _started(self, start: Start, process: Process) -> None:
        await start(process)
        self.tell("is up", process=process)

    def _fell(self, process: Process, start: asyncio.Future[None]) -> None:
        if not start.cancelled() and (error := start.exception()):
            if not is_transient(error):
                self.violated("a process starts, or waits for what is away", f"{process}: {error!r}")
            self.crash(process, f"couldn't start: {type(error).__name__}: {error}"[:80])

    def _outside_soon(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        self.loop.call_later(delay, callback, *args, context=self.outside.context.copy())

    # -- the network --------------------------------------------------------------------------------------------------

    def latency(self) -> float:
        """Seconds for one way."""
        if self.happens(self.faults.slow):
            return self.chance.random() * self.faults.slow_seconds
        return 0.0002 + self.chance.random() * 0.004

    def perils(self, what: str) -> None:
        """The current process may die or be frozen here."""
        process = CURRENT.get(self.outside)
        if process is self.outside:
            return
        faults = self.faults
        if self.crashes < faults.most_crashes and self._goes_wrong(faults.crash, what):
            self.crash(process, what)
        elif self.freezes < faults.most_freezes and self._goes_wrong(faults.freeze, what):
            self.freeze(process, what)

    def _goes_wrong(self, rate: float, what: str) -> bool:
        """Kinds of fault that a seed leaves out don't happen at its target either."""
        aimed_at = rate and self.faults.target_rate and self.faults.target in what
        return self.happens(self.faults.target_rate if aimed_at else rate)

    async def request(
        self,
        what: str,
        effect: Callable[[], T],
        error: Callable[[str], Exception],
        *,
        reliable: bool = False,
        leaves: Callable[[], None] = lambda: None,
        lost: Callable[[], None] = lambda: None,
    ) -> T:
        """Sends a message to a server, which does `effect`; returns what that returns.

        Args:
            what: for the story.
            effect: done at the server, at once.
            error: of a message or an answer that got lost.
            reliable: nothing gets lost, but the sender may still die or freeze.
            leaves: told when the message leaves; from then on it is on its own.
            lost: told, in its stead, where it doesn't arrive.

        Raises:
            what `effect` raises, or `error`.
        """
        process = CURRENT.get(self.outside)
        if process.condition is Condition.DEAD:
            raise ProcessIsDead
        self.perils(f"before {what}")
        if process.condition is not Condition.RUNNING:
            await asyncio.sleep(0)
        leaves()
        faults = self.faults
        is_lost = not reliable and self._goes_wrong(faults.lost, what)
        unanswered = not reliable and not is_lost and self._goes_wrong(faults.unanswered, what)
        there, back = self.latency(), self.latency()
        answer: asyncio.Future[T] = self.loop.create_future()
        if unanswered and self.happens(faults.late):
            self._outside_soon(back, self._fail, answer, error(f"{what}: no answer"))
            self._outside_soon(back + self.latency(), self._arrive_unheard, process, what, effect)
        elif is_lost:
            self._outside_soon(there, self._get_lost, process, what, lost, answer, back, error)
        else:
            self._outside_soon(there, self._arrive, process, what, effect, answer, back, unanswered, error)
        result = await answer
        self.perils(f"after {what}")
        if process.condition is not Condition.RUNNING:
            await asyncio.sleep(0)  # the answer has come, but this process doesn't get round to reading it
        return result

    def _arrive(
        self,
        process: Process,
        what: str,
        effect: Callable[[], Any],
        answer: asyncio.Future[Any],
        back: float,
        unanswered: bool,
        error: Callable[[str], Exception],
    ) -> None:
        try:
            result = effect()
        except Exception as refused:  # noqa: BLE001 - a server's error goes back to who asked
            self.tell(what, effect=f"refused: {type(refused).__name__}", process=process)
            self._outside_soon(back, self._fail, answer, refused)
            return
        if unanswered:
            self.tell(what, fault="answer lost", process=process)
            self._outside_soon(back, self._fail, answer, error(f"{what}: no answer"))
        else:
            self._outside_soon(back, self._succeed, answer, result)

    def _get_lost(
        self,
        process: Process,
        what: str,
        lost: Callable[[], None],
        answer: asyncio.Future[Any],
        back: float,
        error: Callable[[str], Exception],
    ) -> None:
        self.tell(what, fault="lost", process=process)
        lost()
        self._outside_soon(back, self._fail, answer, error(f"{what}: lost"))

    def _arrive_unheard(self, process: Process, what: str, effect: Callable[[], Any]) -> None:
        self.tell(what, fault="arrives late: its sender was told that it failed", process=process)
        try:
            effect()
        except Exception as refused:  # noqa: BLE001 - there is nobody to tell
            self.tell(what, effect=f"refused: {type(refused).__name__}", process=process)

    def _succeed(self, answer: asyncio.Future[Any], result: object) -> None:
        if not answer.done():
            answer.set_result(result)

    def _fail(self, answer: asyncio.Future[Any], error: Exception) -> None:
        if not answer.done():
            answer.set_exception(error)
            answer.exception()  # whoever asked may be gone
