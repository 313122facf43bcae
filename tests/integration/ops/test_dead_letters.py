"""A poisoned record from its bug to its books: parked, shown, redriven; or discarded."""

from __future__ import annotations

import base64
import json

import grpc
import pytest

from alphapanda.consuming.options import ConsumerOptions
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.port import Record
from alphapanda.trading.consumer import TradingConsumer
from panda.common.v1 import common_pb2
from panda.ops.v1 import ops_pb2 as pb
from panda.risk.v1.risk_pb2 import SetKillSwitchRequest
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub
from panda.trading.v1.trading_pb2 import ApplyKillSwitchRequest, SquareOffRequest
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

WAITING, REDRIVEN, DISCARDED = (
    pb.DEAD_LETTER_STATE_WAITING,
    pb.DEAD_LETTER_STATE_REDRIVEN,
    pb.DEAD_LETTER_STATE_DISCARDED,
)


MOST = ConsumerOptions().bug_stop_least
LATER_FIELD = bytes.fromhex("c0a90701")  # field 15000, varint 1: no message of ours has it


@pytest.fixture
def met() -> list[bytes]:
    """The records that trading was handed, as they were written."""
    return []


@pytest.fixture
def broken(monkeypatch, met) -> set[str]:
    """Ids of signals that trading has a bug with, until they are taken out."""
    bad: set[str] = set()
    handle = TradingConsumer.handle

    async def buggy(self, batch) -> None:
        met.extend(one.record.value for one in batch)
        if any(one.event.signal_validated.signal_id in bad for one in batch):
            raise KeyError("no such product")
        await handle(self, batch)

    monkeypatch.setattr(TradingConsumer, "handle", buggy)
    return bad


async def poisoned_then_redriven(mesh, broken, met, approved) -> None:
    """The story, on either log; the poisoned record has fields that nobody here knows, and keeps them."""
    events = [approved(n) for n in range(3)]
    events[0].MergeFromString(LATER_FIELD)
    events[0].signal_validated.MergeFromString(LATER_FIELD)
    written = to_record(events[0], mesh.resources.topic_map).value
    assert written.count(LATER_FIELD) == 2
    broken.add(events[0].signal_validated.signal_id)
    await mesh.publish(*events, approved(10, token=2))
    await mesh.come_to_rest()
    orders = await mesh.rows("SELECT count(*) FROM trading.orders WHERE status = 7")
    letters = (await mesh.ops.ListDeadLetters(pb.ListDeadLettersRequest())).letters
    assert [one.reason for one in letters] == ["BUG", "PARKED", "PARKED"]
    assert {(one.group, one.key, one.state) for one in letters} == {("trading", "crossing:1", WAITING)}
    status = await mesh.ops.GetStatus(pb.GetStatusRequest(service="trading"))
    assert sum(one.parked for one in status.services[0].consumers) == 1
    shown = json.loads(await mesh.cli("dlq", "show", letters[0].letter_id, "--json"))
    assert shown["record"]["event"]["signalValidated"]["signalId"] == events[0].signal_validated.signal_id
    assert "no such product" in shown["letter"]["detail"]
    assert base64.b64decode(shown["record"]["value"]) == written
    assert "can't" not in await mesh.cli("dlq", "show", letters[0].letter_id)
    held = await mesh.rows("SELECT count(*) FROM portfolio.fills")
    assert held[0][0] == 1, orders

    broken.clear()
    met.clear()
    told = json.loads(await mesh.cli("dlq", "redrive", "--key", "crossing:1", "--json"))
    assert met[0] == written
    assert [one["state"] for one in told["letters"]] == ["DEAD_LETTER_STATE_REDRIVEN"] * 3
    await mesh.publish(approved(3))
    again = await mesh.ops.RedriveDeadLetters(
        pb.RedriveDeadLettersRequest(request_id="twice", letter_ids=[one.letter_id for one in letters])
    )
    assert {one.state for one in again.letters} == {REDRIVEN}
    await mesh.come_to_rest()
    fills = await mesh.rows("SELECT count(*), sum(quantity) FROM portfolio.fills")
    assert tuple(fills[0]) == (5, 50)
    traded = await mesh.rows("SELECT sum(quantity * price + commission + day_charges) FROM portfolio.fills")
    [cash] = await mesh.rows("SELECT cash FROM portfolio.accounts WHERE broker = 'paper'")
    assert cash[0] == 1_000_000 - traded[0][0]
    status = await mesh.ops.GetStatus(pb.GetStatusRequest(service="trading"))
    assert sum(one.parked for one in status.services[0].consumers) == 0
    assert (await mesh.rows("SELECT count(*) FROM trading.parked_keys"))[0][0] == 0


async def test_a_poisoned_record_is_parked_shown_redriven_and_the_books_balance(
    embedded, broken, met, approved
) -> None:
    """On SQLite: its key stands still, the other trades on; after the fix every order is filled and booked once."""
    await poisoned_then_redriven(embedded, broken, met, approved)


async def test_the_same_on_kafka(on_kafka, broken, met, approved) -> None:
    """On Kafka, to the same books."""
    await poisoned_then_redriven(on_kafka, broken, met, approved)


async def test_a_newer_writer_s_word_that_decides_waits_unread_and_whole(embedded, approved) -> None:
    """An order of a product that nobody here knows is a letter with its bytes; a redrive by the same program says why."""
    event = approved(1)
    event.signal_validated.product = 77
    record = to_record(event, embedded.resources.topic_map)
    await embedded.resources.log.publish([record])
    await embedded.publish(approved(2))
    await embedded.come_to_rest()
    [letter] = (await embedded.ops.ListDeadLetters(pb.ListDeadLettersRequest())).letters
    assert (letter.reason, letter.state) == ("INVALID", WAITING)
    assert "signal_validated.product" in letter.detail
    for attempt in ("1", "2"):
        shown = await embedded.ops.GetDeadLetter(pb.GetDeadLetterRequest(letter_id=letter.letter_id))
        assert shown.record.value == record.value
        assert [(one.name, one.value) for one in shown.record.headers] == [*record.headers]
        assert shown.record.event.signal_validated.product == 77
        told = await embedded.ops.RedriveDeadLetters(
            pb.RedriveDeadLettersRequest(request_id=attempt, letter_ids=[letter.letter_id])
        )
        assert [one.state for one in told.letters] == [WAITING]
        assert "signal_validated.product" in told.letters[0].last_failure
    assert told.letters[0].failures == 2
    again = await embedded.ops.RedriveDeadLetters(
        pb.RedriveDeadLettersRequest(request_id="1", letter_ids=[letter.letter_id])
    )
    assert again.letters[0].failures == 2, "a repeated request has one effect"
    for request in (
        pb.RedriveDeadLettersRequest(request_id="1", filter=pb.DeadLetterFilter(group="trading")),
        pb.RedriveDeadLettersRequest(request_id="2", letter_ids=[letter.letter_id], page_size=1),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="was used for another request") as reused:
            await embedded.ops.RedriveDeadLetters(request)
        assert reused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    await embedded.come_to_rest()
    assert (await embedded.rows("SELECT count(*) FROM trading.orders"))[0][0] == 1


async def test_a_repeated_redrive_by_filter_takes_no_later_letters(embedded, approved) -> None:
    """The same request has the letters that it had, though more match now; a discard is remembered likewise."""
    first, second = approved(1), approved(2)
    for event in (first, second):
        event.signal_validated.product = 77
    await embedded.resources.log.publish([to_record(first, embedded.resources.topic_map)])
    await embedded.come_to_rest()
    request = pb.RedriveDeadLettersRequest(request_id="f", filter=pb.DeadLetterFilter(group="trading"))
    told = await embedded.ops.RedriveDeadLetters(request)
    assert len(told.letters) == 1
    await embedded.resources.log.publish([to_record(second, embedded.resources.topic_map)])
    await embedded.come_to_rest()
    assert await embedded.ops.RedriveDeadLetters(request) == told
    everything = (await embedded.ops.ListDeadLetters(pb.ListDeadLettersRequest())).letters
    assert sorted(one.failures for one in everything) == [0, 1]
    gone = [one.letter_id for one in everything]
    given_up = pb.DiscardDeadLettersRequest(request_id="d", letter_ids=gone)
    discarded = await embedded.ops.DiscardDeadLetters(given_up)
    assert {one.state for one in discarded.letters} == {pb.DEAD_LETTER_STATE_DISCARDED}
    assert await embedded.ops.DiscardDeadLetters(given_up) == discarded
    with pytest.raises(grpc.aio.AioRpcError, match="was used for another request"):
        await embedded.ops.DiscardDeadLetters(
            pb.DiscardDeadLettersRequest(request_id="d", letter_ids=gone[:1])
        )


async def test_what_json_can_t_say_is_shown_by_its_bytes(embedded, approved) -> None:
    """A time beyond the year 9999 is a letter, parks no key, and `show` and `tail` tell it all the same."""
    event = approved(1)
    event.signal_validated.valid_until.seconds = 10**14
    await embedded.publish(event, approved(2))
    await embedded.come_to_rest()
    assert (await embedded.rows("SELECT count(*) FROM trading.orders"))[0][0] == 1
    [letter] = (await embedded.ops.ListDeadLetters(pb.ListDeadLettersRequest())).letters
    assert letter.reason == "INVALID"
    told = await embedded.cli("dlq", "show", letter.letter_id)
    assert "can't be read" in told
    assert event.SerializeToString(deterministic=True).hex() in told
    topic = embedded.resources.topic_map.topic("signal_validated", "paper")
    tailed = await embedded.cli("topics", "tail", topic, "--from", "beginning", "--limit", "1")
    assert base64.b64decode(json.loads(tailed)["value"]) == event.SerializeToString(deterministic=True)


async def test_a_discarded_signal_ends_as_failed(embedded, broken, approved) -> None:
    """The parked signal has no terminal event until it is given up: then FAILED(DISCARDED); the next one is handled."""
    events = [approved(n) for n in range(2)]
    broken.add(events[0].signal_validated.signal_id)
    await embedded.publish(*events)
    await embedded.come_to_rest()
    first, second = (await embedded.ops.ListDeadLetters(pb.ListDeadLettersRequest())).letters
    assert await embedded.rows("SELECT 1 FROM trading.orders") == []
    with pytest.raises(grpc.aio.AioRpcError, match="waits before"):
        await embedded.ops.DiscardDeadLetters(
            pb.DiscardDeadLettersRequest(request_id="1", letter_ids=[second.letter_id])
        )
    told = await embedded.ops.DiscardDeadLetters(
        pb.DiscardDeadLettersRequest(request_id="2", letter_ids=[first.letter_id])
    )
    assert [one.state for one in told.letters] == [DISCARDED]
    await embedded.ops.RedriveDeadLetters(
        pb.RedriveDeadLettersRequest(request_id="3", letter_ids=[second.letter_id])
    )
    await embedded.come_to_rest()
    failures = embedded.resources.topic_map.topic("order_failed", "paper")
    tailed = await embedded.cli("topics", "tail", failures, "--from", "beginning", "--limit", "1")
    record = json.loads(tailed)
    assert record["key"] == first.key
    assert record["headers"]["ce_type"] == "panda.events.v1.OrderFailed"
    assert "value" not in record
    failed = record["event"]["orderFailed"]
    assert failed["reason"] == "FAILURE_REASON_DISCARDED"
    assert failed["order"]["signalId"] == events[0].signal_validated.signal_id
    assert (await embedded.rows("SELECT count(*) FROM portfolio.fills"))[0][0] == 1


async def test_a_tail_shows_the_bytes_of_what_is_no_event(embedded) -> None:
    """What can't be decoded is a line, too: its bytes in base64, and a key that is no text with its bytes spelt out."""
    topic = embedded.resources.topic_map.topic("signal_validated", "paper")
    await embedded.resources.log.publish([Record(topic, 0, b"k\xff", b"\xffjunk", (("x", b"y"),))])
    line = json.loads(await embedded.cli("topics", "tail", topic, "--from", "beginning", "--limit", "1"))
    assert line.pop("appendedAt")
    assert line == {
        "topic": topic,
        "partition": 0,
        "offset": line["offset"],
        "key": "k\\xff",
        "headers": {"x": "y"},
        "value": "/2p1bms=",
    }


async def test_a_tail_of_kafka_itself_says_what_the_service_says(
    on_kafka, approved, command, tmp_path
) -> None:
    """Where the settings name Kafka nobody is asked but Kafka; --target asks who answers there; both print the same."""
    await on_kafka.publish(approved(1))
    topic = on_kafka.resources.topic_map.topic("signal_validated", "paper")
    wanted = ("topics", "tail", topic, "--from", "beginning", "--limit", "1")
    through_ops = await on_kafka.cli(*wanted)
    environment = {"ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS": on_kafka.bootstrap, "ALPHAPANDA_API__PORT": "1"}
    told = await command(*wanted, env=environment, cwd=tmp_path)
    assert (told.returncode, told.stdout, told.stderr) == (0, through_ops, "")
    refused = await command("topics", "tail", f"{topic}s", env=environment, cwd=tmp_path)
    assert refused.returncode == 2
    assert f"did you mean '{topic}'" in " ".join(refused.stderr.split())


async def test_lag_is_told_by_group_and_partition(embedded, approved, eventually) -> None:
    """Committed, end and what is between; only those behind, where that is asked; an unknown group is refused."""
    await embedded.publish(*(approved(n) for n in range(3)))
    await embedded.come_to_rest()

    async def nobody_is_behind() -> bool:  # offsets are committed some time after what they stand for
        return not (await embedded.ops.ListConsumerLag(pb.ListConsumerLagRequest(behind=True))).lags

    await eventually(nobody_is_behind)
    answer = await embedded.ops.ListConsumerLag(pb.ListConsumerLagRequest(group="trading"))
    [moved] = [one for one in answer.lags if one.end]
    assert (moved.broker, moved.committed, moved.end, moved.lag) == ("paper", 3, 3, 0)
    with pytest.raises(grpc.aio.AioRpcError, match="did you mean 'trading'"):
        await embedded.ops.ListConsumerLag(pb.ListConsumerLagRequest(group="tradin"))


async def test_a_bad_version_stops_where_it_is_and_what_a_person_commands_goes_on(
    embedded, broken, approved, eventually
) -> None:
    """Trading sets four keys aside, not the topic, and is NOT_SERVING; kill switch and square-off go on by RPC."""
    events = [approved(n, token=n) for n in range(1, 9)]
    held, *others = events
    await embedded.publish(held)
    await embedded.come_to_rest()
    broken.update(one.signal_validated.signal_id for one in others)
    await embedded.publish(*others)

    async def stopped() -> bool:
        [service] = (await embedded.ops.GetStatus(pb.GetStatusRequest(service="trading"))).services
        told = f"trading: stopped: {MOST} of the last"
        return service.state == pb.SERVICE_STATE_NOT_SERVING and service.last_error.startswith(told)

    await eventually(stopped, 20.0)
    letters = (await embedded.ops.ListDeadLetters(pb.ListDeadLettersRequest())).letters
    assert [one.reason for one in letters] == ["BUG"] * (MOST - 1)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{embedded.port}") as channel:
        halting = SetKillSwitchRequest(
            request_id="halt", broker="paper", state=common_pb2.TRADING_STATE_REDUCING, reason="a bad deploy"
        )
        answer = await RiskServiceStub(channel).SetKillSwitch(halting)
        assert answer.kill_switch.state == halting.state
        applied = ApplyKillSwitchRequest(broker="paper", state=halting.state, revision=1)
        assert (await TradingServiceStub(channel).ApplyKillSwitch(applied)).state == halting.state
        leaving = SquareOffRequest(request_id="leave", broker="paper")
        [line] = (await TradingServiceStub(channel).SquareOff(leaving)).plan
        assert (line.held, bool(line.signal_id)) == (10, True)
