"""Telling a chain of events: what is known of it as a tree, whichever part is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alphapanda.commands.story.drawing import as_object
from alphapanda.commands.story.facts import Facts, parsed_id
from alphapanda.commands.story.steps import Step
from alphapanda.commands.story.telling import told
from alphapanda.contract.wire import timestamp
from alphapanda.domain.errors import InvalidInput
from panda.common.v1.common_pb2 import (
    ORDER_STATUS_FAILED,
    RULE_OUTCOME_FAILED,
    RULE_OUTCOME_PASSED,
    SIDE_BUY,
    RuleResult,
)
from panda.events.v1.control_pb2 import KillSwitchChanged
from panda.events.v1.events_pb2 import Event
from panda.events.v1.frame_pb2 import TickFrame
from panda.events.v1.orders_pb2 import OrderFailed, OrderState
from panda.events.v1.signals_pb2 import SignalRejected, TradingSignal
from panda.ops.v1.ops_pb2 import DEAD_LETTER_STATE_WAITING, AuditEntry, DeadLetter, LogRecord, RecordHeader
from panda.risk.v1.risk_pb2 import Verdict
from panda.trading.v1.trading_pb2 import Order

BEGAN = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
FRAME = "6f1d2c3b-0000-5000-8000-000000000001"
SIGNALS = tuple(f"6f1d2c3b-0000-5000-8000-00000000001{n}" for n in range(3))
ORDER = "6f1d2c3b-0000-5000-8000-000000000020"


def record(milliseconds: float, event: Event, topic: str = "t", offset: int = 0, **headers: str) -> LogRecord:
    """A record of an event that was made so long after BEGAN."""
    event.occurred_at.CopyFrom(timestamp(BEGAN + timedelta(milliseconds=milliseconds)))
    event.correlation_id = FRAME
    return LogRecord(
        topic=topic,
        offset=offset,
        event=event,
        appended_at=event.occurred_at,
        headers=[RecordHeader(name=name, value=value.encode()) for name, value in headers.items()],
    )


def signal(number: int, milliseconds: float = 2) -> LogRecord:
    wanted = TradingSignal(strategy_id="ema.infy", instrument_id="NSE:INFY", target_position=10)
    event = Event(event_id=SIGNALS[number], source="strategy", broker="paper", trading_signal=wanted)
    return record(milliseconds, event, "signals", number)


def frame() -> LogRecord:
    return record(
        0, Event(event_id=FRAME, source="marketdata", tick_frame=TickFrame(instrument_token=[1, 2]))
    )


def kinds(step: Step) -> list[str]:
    return [one.kind for one in step.every()]


def facts(*records: LogRecord, verdicts: tuple[Verdict, ...] = ()) -> Facts:
    made = Facts()
    made.add_records(records)
    made.add_verdicts(verdicts)
    return made


@pytest.mark.parametrize(
    "text",
    [
        "6F1D2C3B-0000-5000-8000-000000000001",
        " 6f1d2c3b000050008000000000000001 ",
        "00-6f1d2c3b000050008000000000000001-00f067aa0ba902b7-01",
    ],
)
def test_an_id_is_read_in_each_form(text: str) -> None:
    """A UUID, 32 hexadecimal digits and a traceparent name the same chain."""
    assert parsed_id(text) == FRAME


@pytest.mark.parametrize("text", ["", "12", "NSE:INFY", "00-6f1d2c3b000050008000000000000001"])
def test_what_is_no_id_is_refused(text: str) -> None:
    """Anything else is refused, and the message says what is taken."""
    with pytest.raises(InvalidInput, match="a UUID or 32 hexadecimal digits"):
        parsed_id(text)


def test_a_refused_signal_ends_with_its_verdict() -> None:
    """The verdict names the reason once, the rules that failed otherwise, and there is no order."""
    rules = [
        RuleResult(rule="price", outcome=RULE_OUTCOME_PASSED),
        RuleResult(rule="buying_power", outcome=RULE_OUTCOME_FAILED, message="no money"),
        RuleResult(rule="order_rate", outcome=RULE_OUTCOME_FAILED, observed="11", limit="10"),
    ]
    verdict = Verdict(
        signal_id=SIGNALS[0], correlation_id=FRAME, reason="BUYING_POWER", message="no money", rules=rules
    )
    refusal = Event(event_id=ORDER, signal_rejected=SignalRejected(signal_id=SIGNALS[0]))
    story = told(facts(frame(), signal(0), record(5, refusal), verdicts=(verdict,)), FRAME, FRAME)
    assert kinds(story.root) == ["frame", "signal", "verdict", "rule"]
    *_, refused, rule = story.root.every()
    assert refused.text == "refused, BUYING_POWER: no money (1 passed, 2 failed of 3 rules)"
    assert refused.at == BEGAN + timedelta(milliseconds=5)
    assert rule.text == "order_rate failed: 11 of 10"


def test_a_verdict_whose_row_was_purged_is_told_by_its_event() -> None:
    """Where rows are gone, the events of verdict and order tell the same."""
    rejected = SignalRejected(signal_id=SIGNALS[0], reason="MARKET_HOURS", message="closed")
    state = OrderState(
        order_id=ORDER, signal_id=SIGNALS[0], side=SIDE_BUY, quantity=10, status=ORDER_STATUS_FAILED
    )
    ended = Event(event_id=ORDER, order_failed=OrderFailed(order=state, message="too late"))
    refusal = Event(event_id=SIGNALS[2], signal_rejected=rejected)
    story = told(facts(frame(), signal(0), record(4, refusal), record(9, ended, offset=1)), FRAME, FRAME)
    assert kinds(story.root) == ["frame", "signal", "verdict", "order", "event"]
    assert story.root.ended == BEGAN + timedelta(milliseconds=9)


def test_one_signal_of_many_is_told_alone() -> None:
    """An id of one signal's part leaves the others out and says how many; the correlation id tells them all."""
    known = facts(frame(), signal(0), signal(1), signal(2))
    alone = told(known, FRAME, SIGNALS[1])
    assert [one.ids["signal_id"] for one in alone.root.steps] == [SIGNALS[1]]
    assert alone.others == 2
    whole = told(known, FRAME, FRAME)
    assert [one.ids["signal_id"] for one in whole.root.steps] == list(SIGNALS)
    assert whole.others == 0


def test_a_dead_letter_stands_under_its_signal() -> None:
    """A record that could not be handled is a step of the signal it is about, marked while it waits."""
    letter = DeadLetter(
        letter_id="risk.signals/signals/0/0",
        group="risk.signals",
        topic="signals",
        reason="BUG",
        detail="ValueError: x",
        state=DEAD_LETTER_STATE_WAITING,
        dead_at=timestamp(BEGAN + timedelta(seconds=1)),
    )
    known = facts(frame(), signal(0), signal(1))
    known.letters[letter.letter_id] = letter
    story = told(known, FRAME, SIGNALS[0])
    assert kinds(story.root) == ["frame", "signal", "dead letter"]
    assert [*story.root.every()][-1].text == "BUG in risk.signals, waiting: ValueError: x"


def test_a_record_published_twice_is_told_once() -> None:
    """A redelivered event has the same id: one step."""
    assert kinds(
        told(facts(frame(), signal(0), record(3, signal(0).event, "signals", 9)), FRAME, FRAME).root
    ) == [
        "frame",
        "signal",
    ]


def test_a_manual_order_takes_its_time_from_the_command() -> None:
    """Nothing comes before the command, although the order is stored before risk is asked."""
    state = OrderState(order_id=ORDER, signal_id=SIGNALS[0], strategy_id="manual", side=SIDE_BUY, quantity=1)
    known = facts(verdicts=(Verdict(signal_id=SIGNALS[0], strategy_id="manual", waiting=True),))
    known.add_orders([Order(state=state, correlation_id=FRAME, created_at=timestamp(BEGAN))])
    story = told(known, FRAME, ORDER)
    assert kinds(story.root) == ["command", "verdict", "order"]
    assert [one.at for one in story.root.every()] == [BEGAN, None, None]


def test_a_command_says_who_gave_it() -> None:
    """With the audit's entry the story begins with method, caller and address; a refusal ends it with its reason."""
    entry = AuditEntry(
        method="/panda.trading.v1.TradingService/PlaceOrder",
        caller="asha",
        peer="ipv4:127.0.0.1:40000",
        correlation_id=FRAME,
        outcome="INVALID_ARGUMENT",
        reason="INVALID_INPUT",
        message="quantity: 0",
        started_at=timestamp(BEGAN),
    )
    known = facts()
    known.commands = [entry]
    assert known.correlation_of(FRAME) == FRAME
    (step,) = told(known, FRAME, FRAME).root.every()
    assert step.text == (
        "PlaceOrder by asha from ipv4:127.0.0.1:40000: INVALID_ARGUMENT, INVALID_INPUT: quantity: 0"
    )
    assert step.at == BEGAN


def test_nothing_of_a_chain_is_left_out() -> None:
    """An event that belongs to no signal, such as a kill switch's, is a step under the cause, where the whole is told."""
    switch = Event(event_id=ORDER, source="risk", kill_switch_changed=KillSwitchChanged(broker="paper"))
    known = facts(frame(), signal(0), record(7, switch, "control"))
    *_, last = told(known, FRAME, FRAME).root.every()
    assert (last.kind, last.text) == ("event", "kill switch changed of risk")
    assert kinds(told(known, FRAME, SIGNALS[0]).root) == ["frame", "signal", "event"]


def test_programs_get_times_since_the_start() -> None:
    """Each step has its wall time, milliseconds since the start and since the step above it."""
    known = facts(frame(), signal(0, 2.5))
    given = as_object(told(known, FRAME, FRAME), known, FRAME, "")
    (step,) = given["steps"]["steps"]
    assert (step["since_start_ms"], step["after_ms"], given["took_ms"]) == (2.5, 2.5, 2.5)
    assert given["trace_id"] == FRAME.replace("-", "")
