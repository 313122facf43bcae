"""Dead letters as somebody meets them who was woken: nothing reads as done that isn't, nothing waits for ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc
import pytest

from alphapanda.consuming.dead_letters import DeadLetters
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import Record, StoredRecord
from panda.ops.v1 import ops_pb2 as pb

WAITING, DISCARDED = pb.DEAD_LETTER_STATE_WAITING, pb.DEAD_LETTER_STATE_DISCARDED
JUNK = b"\xff\x01junk"


@pytest.fixture
def cli(embedded, command) -> Callable[..., Awaitable[tuple[int, str, str]]]:
    """Runs a command; its exit code, what it printed, and what it complained of."""

    async def run(*args: str) -> tuple[int, str, str]:
        done = await command(*args, "--target", f"127.0.0.1:{embedded.port}")
        return done.returncode, " ".join(done.stdout.split()), " ".join(done.stderr.split())

    return run


async def letters(mesh, **wanted: str) -> list[pb.DeadLetter]:
    """The letters that fit."""
    request = pb.ListDeadLettersRequest(filter=pb.DeadLetterFilter(**wanted))
    return list((await mesh.ops.ListDeadLetters(request)).letters)


async def unreadable(mesh, payload: str) -> pb.DeadLetter:
    """The letter of bytes that are no event, on a topic of trading or portfolio."""
    topic = mesh.resources.topic_map.topic(payload, "paper")
    await mesh.resources.log.publish([Record(topic, 0, b"k", JUNK)])
    await mesh.come_to_rest()
    letter = (await letters(mesh, topic=topic))[0]
    assert letter.reason == "UNDECODABLE"
    return letter


async def test_a_redrive_that_changed_nothing_doesn_t_read_as_done(embedded, cli) -> None:
    """Exit code 1, how often it failed, and why; a second one counts on."""
    letter = await unreadable(embedded, "signal_validated")
    for times in (1, 2):
        code, out, err = await cli("dlq", "redrive", letter.letter_id)
        assert code == 1
        assert f"waiting, failed {times} times" in out
        assert "UNDECODABLE" in out
        assert "1 of 1 wait still" in err
    [again] = await letters(embedded)
    assert (again.state, again.failures) == (WAITING, 2)


async def test_what_nobody_can_read_is_given_up(embedded, cli) -> None:
    """It would wait for ever: bytes that are no event are marked as discarded, whatever topic they came on, and once."""
    await unreadable(embedded, "signal_validated")
    await unreadable(embedded, "order_filled")
    found = [one.letter_id for one in await letters(embedded)]
    assert {one.split("/")[0] for one in found} >= {"trading", "portfolio", "risk.orders"}
    code, out, err = await cli("dlq", "discard", *found)
    assert (code, out.count("discarded"), err) == (0, len(found), "")
    assert await cli("dlq") == (0, "no dead letters", "")
    again = await embedded.ops.DiscardDeadLetters(
        pb.DiscardDeadLettersRequest(request_id="again", letter_ids=found)
    )
    assert {one.state for one in again.letters} == {DISCARDED}


async def test_market_data_is_given_up_and_what_happened_is_not(embedded, approved) -> None:
    """A frame's letter is marked; a fill that broke a rule waits to be redriven; an invalid signal ends."""
    sending = DeadLetters(embedded.resources.log)
    for n, (topic, group, reason) in enumerate(
        (
            ("market.ticks", "strategy", Reason.BUG),
            ("paper.orders.filled", "portfolio", Reason.INVALID),
            ("paper.signals.validated", "trading", Reason.INVALID),
        )
    ):
        await sending.send(
            StoredRecord(topic, 0, n, b"k", JUNK, (), 0), group=group, reason=reason, detail=""
        )
    found = {one.topic: one for one in await letters(embedded)}

    async def give_up(topic: str) -> int:
        request = pb.DiscardDeadLettersRequest(request_id=topic, letter_ids=[found[topic].letter_id])
        return (await embedded.ops.DiscardDeadLetters(request)).letters[0].state

    assert await give_up("market.ticks") == DISCARDED
    assert await give_up("paper.signals.validated") == DISCARDED
    with pytest.raises(grpc.aio.AioRpcError, match="states what happened; it can only be redriven"):
        await give_up("paper.orders.filled")


async def test_a_mistyped_name_doesn_t_read_as_if_nothing_waited(embedded, cli) -> None:
    """List and redrive refuse it and say what there is."""
    code, out, err = await cli("dlq", "list", "--group", "tradin")
    assert (code, out) == (1, "")
    assert "filter.group: 'tradin' is not allowed; did you mean 'trading'" in err
    for name, value, says in (
        ("topic", "paper.signals.validatd", "did you mean 'paper.signals.validated'"),
        ("reason", "bug", "allowed: BUG, INVALID"),
    ):
        request = pb.RedriveDeadLettersRequest(request_id=name)
        setattr(request.filter, name, value)
        with pytest.raises(grpc.aio.AioRpcError, match=says) as refused:
            await embedded.ops.RedriveDeadLetters(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
