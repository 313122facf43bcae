"""A night: faults of many kinds, at random, while strategies trade; after each everything serves again without a hand.

Two platforms suffer it: what `alphapanda up` runs on one machine, and the mesh. Each names its faults; the driver draws them, waits until
all serves and orders go on, and keeps how long that took. What restarts a dead process is no part of the platform in the mesh
(Kubernetes does), so the night does it there; embedded, `up` itself brings back what it started.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import grpc
from cluster import SERVICES, Cluster
from evidence import check_books, read_evidence
from faults import POSTGRES, REDIS, frozen, kill_backend, kill_postgres, kill_redis
from malformed import spoil
from running import Platform, until
from scenarios import STEPS, one_strategy, trade_all
from story import prove

from panda.common.v1.common_pb2 import SIDE_BUY, SIDE_SELL, TradingState
from panda.ops.v1.ops_pb2 import GetStatusRequest
from panda.risk.v1.risk_pb2 import SetKillSwitchRequest
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub
from panda.trading.v1.trading_pb2 import ListOrdersRequest, PlaceOrderRequest
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

SERVING_SECONDS = 90.0
TRADING_SECONDS = 120.0
REST_SECONDS = 180.0
BURST = 100
HOSTILE = 500
MUCH_CASH = {"ALPHAPANDA_PAPER_TRADING__STARTING_CASH": "1000000000"}
SYMBOLS = ("NSE:INFY", "NSE:SBIN", "NSE:TCS", "NSE:ITC")

Fault = Callable[[], None]
Injector = Callable[[Path, random.Random], str]


class Sufferer(Protocol):
    """A platform that faults are done to."""

    name: str

    def faults(self) -> Mapping[str, Fault]:
        """What can be done to it, by kind; each returns once the fault is over."""

    def hindered(self) -> Mapping[str, str]:
        """The services that don't serve, and why; empty where all serve."""

    def newest_order(self) -> int:
        """A number that grows with the orders."""

    def prove(self) -> int:
        """Comes to rest and checks everything that ever happened; returns the number of orders.

        Raises:
            AssertionError: something was lost, came twice or doesn't add up.
        """


@dataclass
class Kind:
    """What one kind of fault came to.

    Attributes:
        times: how often it was done.
        again: seconds from its end until everything served.
        trading: seconds from then until the next order.
    """

    times: int = 0
    again: list[float] = field(default_factory=list)
    trading: list[float] = field(default_factory=list)


@dataclass
class Night:
    """What a night came to.

    Attributes:
        on: the platform.
        seed: of the choices; processes' timing still differs.
        kinds: by the fault's name.
        orders: made meanwhile.
        seconds: of the whole.
        wrong: what was not survived; empty where all was.
    """

    on: str
    seed: int
    kinds: dict[str, Kind] = field(default_factory=dict)
    orders: int = 0
    seconds: float = 0.0
    wrong: str = ""

    @property
    def faults(self) -> int:
        """How many there were."""
        return sum(kind.times for kind in self.kinds.values())


def a_night(sufferer: Sufferer, count: int, seed: int, say: Callable[[str], None] = lambda _: None) -> Night:
    """Does so many faults, each kind in turn in an order of chance, then proves everything."""
    chance = random.Random(seed)
    faults = sufferer.faults()
    night, began = Night(sufferer.name, seed), time.monotonic()
    kind = ""
    try:
        for number, kind in enumerate(drawn(tuple(faults), count, chance), 1):
            time.sleep(chance.uniform(0.0, 3.0))
            faults[kind]()
            over = time.monotonic()
            until(lambda: not sufferer.hindered(), SERVING_SECONDS, f"everything serving after: {kind}")
            served, newest = time.monotonic(), sufferer.newest_order()
            until(
                lambda newest=newest: sufferer.newest_order() > newest,
                TRADING_SECONDS,
                f"an order after: {kind}",
            )
            one = night.kinds.setdefault(kind, Kind())
            one.times += 1
            one.again.append(round(served - over, 2))
            one.trading.append(round(time.monotonic() - served, 2))
            say(
                f"{number:>4} {kind}: serving after {one.again[-1]:.1f} s, an order after {one.trading[-1]:.1f} s"
            )
        kind = "the proof"
        night.orders = sufferer.prove()
    except AssertionError as wrong:
        night.wrong = f"{kind}: {wrong}; hindered: {sufferer.hindered()}"
    night.seconds = round(time.monotonic() - began, 1)
    return night


def drawn(kinds: Sequence[str], count: int, chance: random.Random) -> list[str]:
    """So many kinds, every one as often as the others (or once more), in an order of chance."""
    turns: list[str] = []
    while len(turns) < count:
        turns += chance.sample(kinds, len(kinds))
    return turns[:count]


# -- what both suffer -------------------------------------------------------------------------------------------------


def hostile(trading: TradingServiceStub, calls: int = HOSTILE) -> None:
    """So many calls at once, most to be refused; whoever refuses says RESOURCE_EXHAUSTED, or is away."""
    asked = [trading.ListOrders.future(ListOrdersRequest(page_size=500), timeout=10) for _ in range(calls)]
    for one in asked:
        with suppress(grpc.RpcError):
            one.result()


def burst(trading: TradingServiceStub, name: str, orders: int = BURST) -> None:
    """So many manual orders at once, half of them bought and half sold."""

    def place(number: int) -> None:
        request = PlaceOrderRequest(
            request_id=f"{name}-{number}", symbol="NSE:TCS", side=SIDE_SELL if number % 2 else SIDE_BUY, quantity=1, product=2
        )  # fmt: skip
        with suppress(grpc.RpcError):  # refused, or nobody answers: the proof counts what was taken
            trading.PlaceOrder(request, timeout=20)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(place, range(orders)))


def halt(risk: RiskServiceStub, name: str, seconds: float) -> None:
    """A kill switch for a while; both commands are repeated until they are answered."""
    for state in (TradingState.TRADING_STATE_HALTED, TradingState.TRADING_STATE_ACTIVE):
        request = SetKillSwitchRequest(
            request_id=f"{name}-{state}", broker="paper", state=state, reason="drill"
        )

        def answered(request: SetKillSwitchRequest = request) -> bool:
            with suppress(grpc.RpcError):
                risk.SetKillSwitch(request, timeout=5)
                return True
            return False

        until(answered, 30, "an answer to the kill switch")
        time.sleep(seconds if state == TradingState.TRADING_STATE_HALTED else 0)


class Names:
    """Names that are used once."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix}-{os.getpid()}"
        self._used = 0

    def __call__(self) -> str:
        self._used += 1
        return f"{self._prefix}-{self._used}"


# -- embedded ---------------------------------------------------------------------------------------------------------


class Demo:
    """What `alphapanda up` runs, with a few strategies that trade often.

    Args:
        folder: for its data directory and what it says.
        seed: of what is left to chance.
        speed: market seconds a second.
        settings: as environment variables.
    """

    def __init__(
        self, folder: Path, seed: int, speed: str = "20", settings: Mapping[str, str] = MUCH_CASH
    ) -> None:
        self.name = "the demo"
        self.platform = Platform(
            folder / "data", "--demo", "--speed", speed, environment=settings, home=folder / "home"
        )
        self._folder = (folder / "data").resolve()
        self._named = Names("night")
        self._chance = random.Random(seed)
        self._newest = 0

    def start(self) -> None:
        """Starts it, with strategies beside the demo's."""
        self.platform.start()
        for symbol in SYMBOLS:
            self.platform.run_strategy(f"night.{symbol.partition(':')[2].lower()}", symbols=[symbol])

    def faults(self) -> Mapping[str, Fault]:
        """What can be done to it."""
        platform = self.platform

        folder, chance = self._folder, self._chance

        def frozen_for_a_while(server: str) -> None:
            with frozen(folder, server):
                time.sleep(chance.uniform(1.0, 12.0))

        def up_frozen() -> None:
            assert platform.process is not None
            platform.process.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(1.0, 12.0))
            platform.process.send_signal(signal.SIGCONT)

        def kill(*injectors: Injector) -> None:
            for injector in injectors:
                assert injector(folder, chance), f"{injector.__name__} found nothing to kill"

        return {
            "PostgreSQL killed": partial(kill, kill_postgres),
            "one PostgreSQL backend killed": partial(kill, kill_backend),
            "Redis killed": partial(kill, kill_redis),
            "PostgreSQL and Redis killed": partial(kill, kill_postgres, kill_redis),
            "PostgreSQL frozen for 1-12 s": lambda: frozen_for_a_while(POSTGRES),
            "Redis frozen for 1-12 s": lambda: frozen_for_a_while(REDIS),
            "up frozen for 1-12 s": up_frozen,
            "up killed and started again": self._killed,
            "up stopped and started again": self._stopped,
            "500 calls at once": lambda: hostile(platform.trading),
            "100 manual orders at once": lambda: burst(platform.trading, self._named()),
            "halted by kill switch for 1-3 s": lambda: halt(
                platform.risk, self._named(), self._chance.uniform(1.0, 3.0)
            ),
        }

    def hindered(self) -> Mapping[str, str]:
        """The services that don't serve, and why."""
        try:
            services = self.platform.ops.GetStatus(GetStatusRequest(), timeout=10).services
        except grpc.RpcError as error:
            assert self.platform.process is not None
            assert self.platform.process.poll() is None, f"up has ended: {self.platform.told()}"
            return {"ops": str(error)}
        return {one.service: one.last_error for one in services if one.state != 2}

    def newest_order(self) -> int:
        """When the newest order was made, in milliseconds."""
        with suppress(grpc.RpcError):
            for order in self.platform.trading.ListOrders(ListOrdersRequest(page_size=1), timeout=10).orders:
                self._newest = max(self._newest, order.created_at.ToMilliseconds())
        return self._newest

    def prove(self) -> int:
        """Stops it and checks its books."""
        self.platform.come_to_rest(REST_SECONDS)
        self.platform.stop()
        evidence = read_evidence(self.platform.data_dir)
        check_books(evidence)
        return len(evidence.rows("orders"))

    def _killed(self) -> None:
        self.platform.kill()
        self.platform.start()

    def _stopped(self) -> None:
        self.platform.restart()


# -- the mesh ---------------------------------------------------------------------------------------------------------


class Mesh:
    """The mesh of `cluster.py`; what ends is started again here, as Kubernetes would."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.name = "the mesh"
        self.cluster = cluster
        self._chance = random.Random(seed)
        self._named = Names("night")

    def start(self) -> None:
        """Starts services and strategies."""
        self.cluster.start_services()
        trade_all(self.cluster, "night")
        one_strategy(self.cluster, "night.one")

    def faults(self) -> Mapping[str, Fault]:
        """What can be done to it."""
        return {
            "a service killed": partial(self._killed, 1),
            "two services killed": partial(self._killed, 2),
            "a service killed at a step of an order": self._killed_at_a_step,
            "a service frozen for 1-8 s": self._frozen,
            "a service asked to leave": self._asked_to_leave,
            "a second member comes and goes": self._second_member,
            "PostgreSQL killed for 0-5 s": partial(self._database, signal.SIGKILL),
            "PostgreSQL stopped for 0-5 s": partial(self._database, signal.SIGINT),
            "PostgreSQL cut off for 1-10 s": partial(self._cut, "postgres"),
            "Redis cut off for 1-10 s": partial(self._cut, "redis"),
            "PostgreSQL slow for 1-5 s": partial(self._slow, "postgres"),
            "Redis slow for 1-5 s": partial(self._slow, "redis"),
            "connections to PostgreSQL reset": lambda: self.cluster.soon(self.cluster.postgres.reset),
            "connections to Redis reset": lambda: self.cluster.soon(self.cluster.redis.reset),
            "Kafka killed for 1-10 s": self._kafka,
            "a table locked for 0.5-4 s": self._locked,
            "20 malformed records": lambda: self.cluster.run(spoil(self.cluster, 20, self._chance), 120.0),
            "500 calls at once": lambda: hostile(self.cluster.trading),
            "100 manual orders at once": lambda: burst(self.cluster.trading, self._named()),
            "halted by kill switch for 1-3 s": lambda: halt(
                RiskServiceStub(self.cluster.channel("risk")), self._named(), self._chance.uniform(1.0, 3.0)
            ),
        }

    def hindered(self) -> Mapping[str, str]:
        """The services that don't serve, and why."""
        return self.cluster.hindered()

    def newest_order(self) -> int:
        """How many there are."""
        return self.cluster.count("trading.orders")

    def prove(self) -> int:
        """Comes to rest and proves everything that ever happened on this mesh."""
        self.cluster.come_to_rest(REST_SECONDS)
        return prove(self.cluster.evidence()).orders

    def _killed(self, how_many: int) -> None:
        victims = self._chance.sample(SERVICES, how_many)
        for victim in victims:
            self.cluster.kill(victim)
        time.sleep(self._chance.uniform(0.0, 2.0))
        for victim in victims:
            self.cluster.launch(victim)

    def _killed_at_a_step(self) -> None:
        service, step = self._chance.choice([one for one in STEPS if one[0] != "portfolio"])
        spell = self.cluster.lay(service, step)
        with suppress(AssertionError):  # the step doesn't come: the spell is taken back
            until(lambda: not spell.exists(), 5, f"{service} at {step}")
        spell.unlink(missing_ok=True)
        with suppress(AssertionError):
            until(
                lambda: self.cluster.members[service].process.poll() is not None, 2, f"the end of {service}"
            )
        if self.cluster.members[service].process.poll() is not None:
            self.cluster.launch(service)

    def _frozen(self) -> None:
        member = self.cluster.members[self._chance.choice(SERVICES)]
        member.process.send_signal(signal.SIGSTOP)
        time.sleep(self._chance.uniform(1.0, 8.0))
        member.process.send_signal(signal.SIGCONT)
        time.sleep(2.0)  # one that was taken for dead may end itself
        if member.process.poll() is not None:
            self.cluster.launch(member.name)

    def _asked_to_leave(self) -> None:
        service = self._chance.choice(SERVICES)
        self.cluster.kill(service, signal.SIGTERM)
        self.cluster.launch(service)

    def _second_member(self) -> None:
        service = self._chance.choice(("strategy", "risk", "portfolio", "trading"))
        self.cluster.launch(service, f"{service}.2")
        self.cluster.wait_until_ready(f"{service}.2")
        time.sleep(self._chance.uniform(0.0, 3.0))
        self.cluster.dismiss(f"{service}.2")

    def _cut(self, store: str) -> None:
        proxy = getattr(self.cluster, store)
        self.cluster.soon(proxy.cut)
        time.sleep(self._chance.uniform(1.0, 10.0))
        self.cluster.soon(proxy.mend)

    def _slow(self, store: str) -> None:
        proxy = getattr(self.cluster, store)
        proxy.delay = self._chance.choice((0.05, 0.3, 1.5))
        time.sleep(self._chance.uniform(1.0, 5.0))
        proxy.delay = 0.0

    def _database(self, way: signal.Signals) -> None:
        self.cluster.stop_database(way)
        time.sleep(self._chance.uniform(0.0, 5.0))
        self.cluster.start_database()

    def _kafka(self) -> None:
        self.cluster.kafka.kill()
        time.sleep(self._chance.uniform(1.0, 10.0))
        self.cluster.kafka.start()

    def _locked(self) -> None:
        table = self._chance.choice(("trading.orders", "risk.positions", "portfolio.accounts", "risk.outbox"))
        with self.cluster.writes_held(table):
            time.sleep(self._chance.uniform(0.5, 4.0))
