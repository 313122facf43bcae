"""What is done to a mesh. The tests run each of these small, `make chaos` runs them in full."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from cluster import SERVICES, Cluster
from running import until
from story import Account, prove

from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect
from panda.common.v1.common_pb2 import SIDE_BUY, SIDE_SELL
from panda.trading.v1.trading_pb2 import PlaceOrderRequest

SYMBOLS = ("NSE:INFY", "NSE:TCS", "NSE:RELIANCE", "NSE:HDFCBANK", "NSE:MARUTI", "NSE:BHARTIARTL")
RECOVERY_SECONDS = 40.0
SESSION_SECONDS = 2.0
SEVERAL = 3
TTL_SECONDS = 1
ON_THE_WAY = "risk.verdicts v WHERE approved AND NOT EXISTS (SELECT FROM trading.orders o WHERE o.signal_id = v.signal_id)"
# A restarted member is given records again that were not committed: its key's next order is stored with such a one, and
# waits for it to be driven; and what was handed over while it was driven comes again.
BEHIND_ANOTHER = (OrderStatus.PENDING_SUBMIT, 0)
AGAIN = (BEHIND_ANOTHER, (OrderStatus.SUBMITTING, 0), (OrderStatus.SUBMITTING, 1))
# What is found of the order in flight when trading is killed at a step: its status, and its calls to the exchange. First
# what its own signal's first coming leaves.
FOUND = {
    "received": ((None, 0), *AGAIN),
    "decided": ((None, 0), BEHIND_ANOTHER),
    "stored": ((None, 0), BEHIND_ANOTHER),
    "submitting_committed": ((OrderStatus.SUBMITTING, 0),),
    "called": ((OrderStatus.SUBMITTING, 1),),
    "answered": ((OrderStatus.SUBMITTING, 1),),
    # What was committed may be published, and the next signal of the key approved, before the step is told.
    "committed": ((OrderStatus.FILLED, 1), (None, 0)),
}
RELAYED = ("publishing", "published")
STEPS = (
    *(("trading", step) for step in (*FOUND, *RELAYED, "handled")),
    *(("risk", step) for step in (*RELAYED, "handled")),
    *(("portfolio", step) for step in ("handled",)),
    *(("strategy", step) for step in RELAYED),
)


@dataclass
class Survived:
    """What was done, and what it came to.

    Attributes:
        what: in words.
        faults: injected.
        orders: stored meanwhile.
        fills: booked meanwhile.
        lost: of them, see story.Account.
        duplicate: of them.
        absent: orders that ended as FAILED(ABSENT): their intent was committed and its call never made.
        expired: entries that ended as FAILED(EXPIRED).
        recoveries: times in which everything served again, in seconds.
        seconds: of the whole.
    """

    what: str
    faults: int = 0
    orders: int = 0
    fills: int = 0
    lost: int = 0
    duplicate: int = 0
    absent: int = 0
    expired: int = 0
    recoveries: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def recovered(self, cluster: Cluster) -> None:
        """Waits until everything serves, and keeps how long that took."""
        self.recoveries.append(cluster.wait_until_serving(RECOVERY_SECONDS))


@contextmanager
def surviving(cluster: Cluster, what: str) -> Iterator[Survived]:
    """Before, everything serves; after, everything comes to rest, and all that ever happened on this mesh is proven."""
    cluster.start_services()
    before: Account = cluster.proven
    survived, began = Survived(what), time.monotonic()
    try:
        yield survived
        cluster.start_services()
        cluster.come_to_rest()
        cluster.proven = prove(cluster.evidence())
    except BaseException as wrong:
        cluster.trusted = False
        wrong.add_note(what)  # with the seed
        raise
    survived.seconds = time.monotonic() - began
    for name in ("orders", "fills", "absent", "expired"):
        setattr(survived, name, getattr(cluster.proven, name) - getattr(before, name))
    survived.lost, survived.duplicate = len(cluster.proven.lost), len(cluster.proven.duplicate)
    assert survived.orders > 0


# -- R1 ---------------------------------------------------------------------------------------------------------------


def random_kills(cluster: Cluster, orders: int, seed: int) -> Survived:
    """Kill -9 of any service at any moment while strategies and a person trade; each is started again after a while."""
    chance = random.Random(seed)
    with surviving(cluster, f"kill -9 of any service at random, seed {seed}") as survived:
        first = cluster.count("trading.orders")
        for cycle in range(3):
            cluster.trade(f"r1.{cycle}.{first}", cycle=cycle, every=2, symbols=SYMBOLS, quantity=10)
        with a_person_trading(cluster, f"r1-{first}") as placed:
            while cluster.count("trading.orders") < first + orders:
                time.sleep(chance.uniform(0.3, 2.0))
                victims = chance.sample(SERVICES, chance.choice((1, 1, 1, 2)))
                for victim in victims:
                    cluster.kill(victim)
                time.sleep(chance.uniform(0.0, 1.0))
                for victim in victims:
                    cluster.launch(victim)
                    survived.faults += 1
                if chance.random() < 0.5:
                    survived.recovered(cluster)
        manual = cluster.fetch(
            "SELECT count(*) AS n FROM trading.orders WHERE strategy_id = 'manual' AND product = $1",
            placed.product,
        )
        assert manual[0]["n"] == placed.orders
    return survived


@dataclass
class Placed:
    """What a person has placed so far."""

    product: int
    orders: int = 0


@contextmanager
def a_person_trading(cluster: Cluster, name: str) -> Iterator[Placed]:
    """Orders by RPC, one after the other; an order nobody answered is placed again under the same request_id."""
    placed, over = Placed(2), Event()
    placed.orders = cluster.count(
        f"trading.orders WHERE strategy_id = 'manual' AND product = {placed.product}"
    )

    def place() -> None:
        number = 0
        while not over.is_set():
            side = SIDE_SELL if number % 2 else SIDE_BUY
            request = PlaceOrderRequest(
                request_id=f"{name}-{number}", symbol="NSE:TCS", side=side, quantity=5, product=placed.product
            )
            cluster.patiently(lambda request=request: cluster.trading.PlaceOrder(request, timeout=3))
            placed.orders += 1
            number += 1
            over.wait(0.5)

    thread = Thread(target=place)
    thread.start()
    try:
        yield placed
    finally:
        over.set()
        thread.join()


# -- R2 ---------------------------------------------------------------------------------------------------------------


def kills_at_steps(cluster: Cluster, steps: Sequence[tuple[str, str]], times: int) -> Survived:
    """Kill -9 at each step of one order on its way; what is found right after is what that step leaves."""
    with surviving(cluster, f"kill -9 at {len(steps)} steps, {times} times each") as survived:
        one_strategy(cluster, "r2")
        as_expected: Counter[str] = Counter()
        for _ in range(times):
            for service, step in steps:
                as_expected[step] += kill_at(cluster, service, step)
                survived.faults += 1
                cluster.launch(service)
                more_orders(cluster, 1)
        unsent = times * sum(step == "submitting_committed" for _, step in steps)
    assert survived.absent <= unsent
    if times >= SEVERAL:
        rarely = {step: met for step, met in as_expected.items() if met < times / 2}
        assert not rarely, (
            f"of {times} kills at each step the order in flight was met where it should be in {rarely}"
        )
    return survived


def one_strategy(cluster: Cluster, name: str, every: int = 2, **more: Any) -> None:
    """One strategy on one instrument, so at most one order is on its way."""
    name = f"{name}.{cluster.count('trading.orders')}"
    cluster.trade(name, cycle=0, every=every, symbols=["NSE:INFY"], quantity=10, **more)
    more_orders(cluster, 2)


def more_orders(cluster: Cluster, count: int) -> None:
    """Returns once that many more orders are stored."""
    cluster.wait_for_orders(cluster.count("trading.orders") + count, RECOVERY_SECONDS)


def kill_at(cluster: Cluster, service: str, step: str) -> bool:
    """Kills a service's process at a step, and looks at what it left; whether that is what a first coming leaves."""
    process = cluster.members[service].process
    cluster.lay(service, step)
    assert process.wait(30) == -signal.SIGKILL, cluster.told(service)
    if service == "trading" and step in FOUND:
        in_flight = (
            "SELECT o.order_id, o.status FROM risk.positions p LEFT JOIN trading.orders o"
            " ON o.signal_id = p.open_signal_id WHERE p.open_signal_id IS NOT NULL"
        )
        orders = cluster.fetch(in_flight)
        if not orders:  # what was committed was published, and risk has booked it before the step was told
            assert step == "committed"
            return False
        (order,) = orders
        places = cluster.fetch(
            "SELECT c.tag FROM paper_exchange.calls c JOIN trading.intents i USING (tag)"
            " WHERE c.what = 'place' AND i.order_id = $1",
            order["order_id"],
        )
        found = (order["status"] and OrderStatus(order["status"]), len(places))
        assert found in FOUND[step], f"after a kill of {service} at {step}: {found}"
        return found == FOUND[step][0]
    if (
        step in RELAYED and service != "strategy"
    ):  # its signals go straight to the log, in hand when it dies there
        assert cluster.count(f"{service}.outbox WHERE published_at IS NULL") >= 1
    elif step == "handled":
        lag = {what: left for what, left in cluster.work().items() if what.startswith(f"lag of {service}")}
        assert lag, f"nothing of {service} was in work"
    return True


# -- R12 --------------------------------------------------------------------------------------------------------------

SECOND = "trading-2"


def frozen_senders(cluster: Cluster, effects: Sequence[PositionEffect]) -> Survived:
    """One of two members is stopped between its commit of SUBMITTING and its call, past session and visibility window.

    The other one has to bring the order to its end meanwhile (an exit by sending a new intent), and the frozen one, thawed,
    must not send it any more.
    """
    with surviving(cluster, "a member frozen between commit and call, thawed too late") as survived:
        cluster.launch("trading", SECOND)
        cluster.wait_until_ready(SECOND)
        one_strategy(cluster, "r12")
        for effect in effects:
            order_id = freeze_a_sender(cluster, effect)
            try:
                until(
                    lambda order_id=order_id: ended(cluster, order_id),
                    RECOVERY_SECONDS,
                    "its end by the other",
                )
                more_orders(cluster, 1)
            finally:
                thaw(cluster)
            more_orders(cluster, 2)
            survived.faults += 1
            (order,) = cluster.fetch("SELECT failure FROM trading.orders WHERE order_id = $1", order_id)
            if effect is PositionEffect.REDUCES:  # tried again, as a new intent
                assert (order["failure"], calls_of(cluster, order_id)) == (None, 1)
            else:
                assert (order["failure"], calls_of(cluster, order_id)) == (FailureReason.ABSENT, 0)
        cluster.dismiss(SECOND)
    assert survived.absent == sum(effect is not PositionEffect.REDUCES for effect in effects)
    return survived


def freeze_a_sender(cluster: Cluster, effect: PositionEffect) -> str:
    """Stops the member that holds the one order in flight, of this effect, between commit and call; the order's id."""
    for _ in range(20):
        spell = cluster.lay("trading", "submitting_committed", signal.SIGSTOP)
        until(lambda spell=spell: not spell.exists(), 30, "a sender")
        member = until(lambda: cluster.stopped("trading"), 10, "a stopped sender")
        (order,) = cluster.fetch(
            "SELECT order_id, effect FROM trading.orders WHERE status = $1", OrderStatus.SUBMITTING.value
        )
        if order["effect"] == effect:
            assert calls_of(cluster, order["order_id"]) == 0
            return str(order["order_id"])
        member.process.send_signal(signal.SIGCONT)
        until(lambda order=order: ended(cluster, order["order_id"]), RECOVERY_SECONDS, "its end")
    raise AssertionError(f"no order that {effect.name}")


def thaw(cluster: Cluster, service: str = "trading") -> None:
    """Lets a service's frozen member go on."""
    if member := cluster.stopped(service):
        member.process.send_signal(signal.SIGCONT)


def ended(cluster: Cluster, order_id: str) -> bool:
    """Whether an order has ended."""
    (order,) = cluster.fetch("SELECT status FROM trading.orders WHERE order_id = $1", order_id)
    return OrderStatus(order["status"]).is_final


def calls_of(cluster: Cluster, order_id: str) -> int:
    """How often the exchange was called to place an order."""
    return cluster.count(
        "paper_exchange.calls c JOIN trading.intents i USING (tag)"
        f" WHERE c.what = 'place' AND i.order_id = '{order_id}'"
    )


def a_dead_member_s_orders(cluster: Cluster) -> Survived:
    """A member dies for good while it looks up an order whose record it has committed: the other one goes on with it."""
    with surviving(cluster, "a member dead for good while it looks an order up") as survived:
        cluster.launch("trading", SECOND)
        cluster.wait_until_ready(SECOND)
        one_strategy(cluster, "r12")
        order_id, name = kill_who_looks_up(cluster)
        survived.faults += 1
        assert not ended(cluster, order_id)
        until(lambda: ended(cluster, order_id), RECOVERY_SECONDS, "its end by the other")
        assert calls_of(cluster, order_id) == 0
        cluster.launch("trading", name)
        cluster.wait_until_ready(name)
        cluster.dismiss(SECOND)
    assert survived.absent == 1
    return survived


def kill_who_looks_up(cluster: Cluster) -> tuple[str, str]:
    """Kills the member that looks up an opening order which the exchange never took; the order's id, the member's name."""
    for attempt in range(20):
        more_orders(cluster, 1 + attempt % 2)  # openings and exits take turns
        with cluster.writes_held("paper_exchange.orders"):
            (order,) = until(
                lambda: cluster.fetch(
                    "SELECT order_id, effect FROM trading.orders WHERE status = $1",
                    OrderStatus.SUBMITTING.value,
                ),
                RECOVERY_SECONDS,
                "an order that the exchange doesn't take",
            )
            order_id = str(order["order_id"])
            if order["effect"] == PositionEffect.OPENS:
                name = until(lambda order_id=order_id: looks_up(cluster, order_id), 10, "no clear answer")
                until(lambda: not cluster.lag("trading"), 5, "the record's commit")
                cluster.kill(name)
                return order_id, name
        until(lambda order_id=order_id: ended(cluster, order_id), RECOVERY_SECONDS, "its end")
    raise AssertionError("no order that opens")


def looks_up(cluster: Cluster, order_id: str) -> str:
    """The name of the member of trading that got no clear answer about an order; empty where none has said so."""
    for name, member in cluster.members.items():
        if member.service == "trading" and any(
            "order.answer_unclear" in line and order_id in line for line in cluster.said(name).splitlines()
        ):
            return name
    return ""


def members_come_and_go(cluster: Cluster, times: int, seed: int) -> Survived:
    """Second members of risk, trading and portfolio join, and leave in order, by kill -9 or frozen, while orders flow."""
    chance = random.Random(seed)
    with surviving(cluster, f"members that come and go, seed {seed}") as survived:
        for cycle in range(3):
            name = f"r12.{cycle}.{cluster.count('trading.orders')}"
            cluster.trade(name, cycle=cycle, every=2, symbols=SYMBOLS, quantity=10)
        for _ in range(times):
            service = chance.choice(("trading", "trading", "risk", "portfolio"))
            second = f"{service}-2"
            cluster.launch(service, second)
            cluster.wait_until_ready(second)
            time.sleep(chance.uniform(0.0, 0.5))
            leaving = chance.choice((service, second))
            way = chance.choice((signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP))
            if way is signal.SIGSTOP:
                cluster.members[leaving].process.send_signal(way)
                time.sleep(chance.uniform(0.0, 2 * SESSION_SECONDS))
                thaw(cluster, service)
                way = signal.SIGTERM
            cluster.kill(leaving, way)
            survived.faults += 2
            more_orders(cluster, 2)
            if leaving == service:
                cluster.launch(service)
                cluster.wait_until_ready(service)
                cluster.dismiss(second)
            else:
                del cluster.members[second]
    return survived


# -- R5 ---------------------------------------------------------------------------------------------------------------


def without_kafka(cluster: Cluster, seconds: Sequence[float]) -> Survived:
    """Kafka is killed and comes back after a while; validated entries that trading couldn't read meanwhile are stale then.

    Trading stands still from before an entry is validated until the market's clock, which waits for Kafka, is beyond that
    entry's time: what Kafka had already sent, or sends first when it is back, would be called in time otherwise.
    """
    with surviving(cluster, f"Kafka gone for {' / '.join(f'{each:g}' for each in seconds)} s") as survived:
        for cycle in range(3):
            name = f"r5.{cycle}.{cluster.count('trading.orders')}"
            cluster.trade(name, cycle=cycle, symbols=SYMBOLS, quantity=10, signal_ttl_seconds=TTL_SECONDS)
        for each in seconds:
            decided = cluster.fetch("SELECT coalesce(max(number), 0) AS last FROM risk.verdicts")[0]["last"]
            entry = f"{ON_THE_WAY} AND effect <> {PositionEffect.REDUCES:d} AND number > {decided}"
            more_orders(cluster, 10)
            trading = cluster.members["trading"].process
            trading.send_signal(signal.SIGSTOP)
            until(lambda entry=entry: cluster.count(entry), 60, "an entry on its way to trading")
            until(lambda: not cluster.count("risk.outbox WHERE published_at IS NULL"), 60, "its publication")
            validated = cluster.market_time()
            cluster.kafka.kill()
            survived.faults += 1
            time.sleep(each)
            cluster.kafka.start()
            until(
                lambda validated=validated: cluster.market_time() > validated + TTL_SECONDS, 60, "market time"
            )
            trading.send_signal(signal.SIGCONT)
            survived.recovered(cluster)
        more_orders(cluster, 5)
    assert survived.expired >= len(seconds)
    return survived


def trade_all(cluster: Cluster, name: str, **more: Any) -> None:
    """Three strategies on every instrument."""
    first = cluster.count("trading.orders")
    for cycle in range(3):
        cluster.trade(f"{name}.{cycle}.{first}", cycle=cycle, every=2, symbols=SYMBOLS, quantity=10, **more)
    more_orders(cluster, 5)
