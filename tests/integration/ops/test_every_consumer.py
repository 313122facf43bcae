"""Every consumer that the composition root builds meets a duplicate, a failure that passes, and a poisoned record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tests.values import replace

from alphapanda.app.groups import GROUPS
from alphapanda.app.health import ActiveChecks
from alphapanda.consuming.delivery import Delivery, Handler
from alphapanda.contract import order_wire, wire
from alphapanda.domain import ids
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, Filled, OrderState, Submitted
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.resilience.failures import TransientFailure
from panda.events.v1.events_pb2 import Event
from panda.ops.v1 import ops_pb2 as pb

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)


class Troubled:
    """A consumer's own handler, with trouble before it."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.handled: list[str] = []
        self.transient: dict[str, int] = {}
        self.poisoned: set[str] = set()

    async def handle(self, batch: Sequence[Delivery]) -> None:
        for delivery in batch:
            if delivery.event.event_id in self.poisoned:
                raise KeyError("a bug")
            if self.transient.get(delivery.event.event_id):
                self.transient[delivery.event.event_id] -= 1
                raise TransientFailure("away for now", "broker")
        await self._handler.handle(batch)
        self.handled += [delivery.event.event_id for delivery in batch]


def event(payload: str, n: int) -> Event:
    """The n-th event of a payload; those of one payload have one key."""
    key = PositionKey("paper", "default", f"of_{payload}", "NSE:S1", Product.MIS)
    signal_id = ids.derived_id("signal", payload, n)
    order = OrderState(
        order_id=ids.derived_id("order", payload, n),
        signal_id=signal_id,
        key=key,
        instrument_token=1,
        side=Side.BUY,
        quantity=10,
        terms=AT_MARKET,
        effect=PositionEffect.OPENS,
        status=OrderStatus.OPEN,
        revision=1,
        filled=0,
        leaves=10,
        average_price=None,
        market_time=NOON,
    )
    chain = {
        "event_id": ids.derived_id("event", payload, n),
        "correlation_id": ids.derived_id("chain"),
        "causation_id": signal_id,
        "source": "trading",
        "occurred_at": NOON,
    }
    match payload:
        case "tick_frame":
            at = nanoseconds(NOON)
            return wire.frame_event(Frame("test", 0, n + 1, at, 100, [4], [10_000], [at]), "marketdata", NOON)
        case "trading_signal":
            signal = Signal(
                signal_id=signal_id,
                correlation_id=chain["correlation_id"],
                causation_id=chain["correlation_id"],
                key=key,
                instrument_token=1,
                config_revision=1,
                target=0,
                side=None,
                quantity=None,
                terms=AT_MARKET,
                market_time=NOON,
                valid_until=NOON + timedelta(seconds=60),
                reference_price=None,
                reason="a test",
            )
            return wire.signal_event(signal, "strategy", NOON)
        case "order_submitted":
            return order_wire.order_event(Submitted(order), **chain)
        case "order_filled":
            filled = replace(
                order, status=OrderStatus.FILLED, revision=2, filled=10, leaves=0, average_price=Decimal(100)
            )
            fill = Fill(ids.derived_id("fill", payload, n), f"T{n}", 10, Decimal(100), Decimal(1), NOON)
            return order_wire.order_event(Filled(filled, fill), **chain)
        case other:
            raise LookupError(f"say here how an event of {other} is made")


async def test_every_consumer_bears_a_duplicate_a_failure_and_a_poisoned_record(embedded, approved) -> None:
    """The duplicate is absorbed, the failure waited for, the poisoned one set aside: with its key where money moves."""
    consumers = {consumer.name: consumer for room in embedded.rooms for consumer in room.consumers}
    assert set(consumers) == set(GROUPS), "every consumer is named in app/groups.py"
    for group, consumer in consumers.items():
        payload = GROUPS[group][0]
        events = [
            approved(n, token=3) if payload == "signal_validated" else event(payload, n) for n in range(5)
        ]
        names = [one.event_id for one in events]
        trouble = Troubled(consumer._handling._handler)
        consumer._handling._handler = trouble
        trouble.transient, trouble.poisoned = {names[1]: 3}, {names[2]}
        await embedded.publish(events[0], events[0], *events[1:])
        await embedded.come_to_rest()

        topic = embedded.resources.topic_map.topic(payload, events[0].broker)
        money = embedded.resources.topic_map.policy(topic).money
        seen = list(dict.fromkeys(one for one in trouble.handled if one in names))
        expected = names[:2] if money else [*names[:2], *names[3:]]
        assert seen == expected, group
        wanted = pb.DeadLetterFilter(group=group)
        letters = (await embedded.ops.ListDeadLetters(pb.ListDeadLettersRequest(filter=wanted))).letters
        assert [one.reason for one in letters] == (["BUG", "PARKED", "PARKED"] if money else ["BUG"]), group
        [status] = [one for one in consumer.status() if one.broker == events[0].broker]
        assert (status.parked, status.dead_lettered) == ((1, 3) if money else (0, 1)), group
        assert status.retried >= 3
        assert consumer.serving
        if not money:
            continue
        trouble.poisoned.clear()
        await embedded.ops.RedriveDeadLetters(
            pb.RedriveDeadLettersRequest(request_id=group, filter=wanted), timeout=10
        )
        await embedded.come_to_rest()
        assert list(dict.fromkeys(one for one in trouble.handled if one in names)) == names, group


async def test_while_a_key_is_parked_in_risk_its_position_is_unknown(embedded) -> None:
    """Nothing passes there, and the refusal says why; once it is redriven the same wish is judged as ever."""
    [consumer] = [one for room in embedded.rooms for one in room.consumers if one.name == "risk.orders"]
    trouble = Troubled(consumer._handling._handler)
    consumer._handling._handler = trouble
    poisoned = event("order_submitted", 7)
    trouble.poisoned = {poisoned.event_id}
    await embedded.publish(poisoned)
    await embedded.come_to_rest()
    signals = [event("trading_signal", n) for n in (1, 2)]
    for one in signals:
        one.trading_signal.strategy_id = poisoned.order_submitted.order.strategy_id
    await embedded.publish(signals[0])
    await embedded.come_to_rest()
    trouble.poisoned.clear()
    await embedded.ops.RedriveDeadLetters(
        pb.RedriveDeadLettersRequest(request_id="1", filter=pb.DeadLetterFilter(group="risk.orders"))
    )
    await embedded.publish(signals[1])
    await embedded.come_to_rest()
    found = await embedded.rows("SELECT signal_id, reason FROM risk.verdicts")
    reasons = {str(row.signal_id): row.reason for row in found}
    assert reasons[signals[0].event_id] == "POSITION_UNKNOWN"
    assert reasons[signals[1].event_id] == "ALREADY_AT_TARGET"


async def test_a_log_that_is_away_keeps_its_readers_from_serving_and_is_named(embedded, monkeypatch) -> None:
    """Fetching from a log that is away only brings nothing; the active checks ask it, and say so."""
    watched = ActiveChecks(embedded.resources, embedded.rooms)

    async def away(topics) -> None:
        raise LogUnavailable("no broker of the log answers")

    monkeypatch.setattr(embedded.resources.log, "end_offsets", away)
    for service in ("strategy", "risk", "trading", "portfolio"):
        checks = watched.of(service)
        for check in checks:
            await check.run(in_grace_period=False)
        told = [check.last_error for check in checks if not check.serving]
        assert [line for line in told if "no broker of the log answers" in line], service
