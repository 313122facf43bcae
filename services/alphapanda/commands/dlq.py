"""`alphapanda dlq`: lists, redrives and discards dead letters."""

from __future__ import annotations

from collections.abc import Iterable

import click
from google.protobuf.json_format import MessageToJson
from rich.console import Group, RenderableType

from alphapanda.commands.asking import ListsByDefault, Services, ask, asks, new_request_id, page, pages, show
from alphapanda.commands.console import USAGE, fail
from alphapanda.commands.finding import Target
from alphapanda.commands.tables import figures, row, state, table
from alphapanda.commands.wording import count, market_moment, shown_time, word
from panda.ops.v1.ops_pb2 import (
    DEAD_LETTER_STATE_WAITING,
    DeadLetter,
    DeadLetterFilter,
    DiscardDeadLettersRequest,
    DiscardDeadLettersResponse,
    GetDeadLetterRequest,
    GetDeadLetterResponse,
    ListDeadLettersRequest,
    RedriveDeadLettersRequest,
    RedriveDeadLettersResponse,
)

TIME = "%d %b %H:%M:%S IST"


@click.group(cls=ListsByDefault)
def dlq() -> None:
    """Show dead letters: records that a consumer could not handle; redrive or discard them."""


topic_option = click.option("--topic", default="", help="only letters of this topic")
group_option = click.option(
    "--group", default="", help='only letters of this consumer group, such as "trading"'
)
key_option = click.option("--key", default="", help='only letters of this key, such as "ema_cross:408065"')
reason_option = click.option("--reason", default="", help="only letters with this reason, such as BUG")


@dlq.command("list")
@topic_option
@group_option
@key_option
@reason_option
@click.option("--all", "every", is_flag=True, help="redriven and discarded ones too")
@pages
@asks
def list_letters(
    topic: str,
    group: str,
    key: str,
    reason: str,
    page_size: int,
    page_token: str,
    target: Target,
    *,
    every: bool,
    as_json: bool,
) -> None:
    """List the dead letters that wait."""
    wanted = DeadLetterFilter(topic=topic, group=group, key=key, reason=reason)
    if not every:
        wanted.state = DEAD_LETTER_STATE_WAITING
    request = ListDeadLettersRequest(filter=wanted, page_size=page_size, page_token=page_token)
    answer = ask(target, lambda services: services.ops.ListDeadLetters(request))
    show(
        answer,
        as_json=as_json,
        table=lambda: page(
            _letters_table(answer.letters) if answer.letters else "no dead letters", answer.next_page_token
        ),
    )


@dlq.command("show")
@click.argument("letter_id")
@asks
def show_letter(letter_id: str, target: Target, *, as_json: bool) -> None:
    """Show one dead letter: reason, headers, the event where it can be decoded, and the raw bytes."""
    request = GetDeadLetterRequest(letter_id=letter_id)
    answer = ask(target, lambda services: services.ops.GetDeadLetter(request))
    show(answer, as_json=as_json, table=lambda: _whole(answer))


@dlq.command("redrive")
@click.argument("letter_ids", nargs=-1)
@topic_option
@group_option
@key_option
@reason_option
@asks
def redrive(
    letter_ids: tuple[str, ...],
    topic: str,
    group: str,
    key: str,
    reason: str,
    target: Target,
    *,
    as_json: bool,
) -> None:
    """Redrive dead letters: their consumer group handles them again; those named, or all that match the options.

    The letters of a key are handled in order, then the records that arrived for the key meanwhile. A letter that was
    handled already has no second effect.
    """
    wanted = DeadLetterFilter(topic=topic, group=group, key=key, reason=reason)
    if bool(letter_ids) == bool(wanted.ByteSize()):
        fail("name letters, or say which with --topic, --group, --key, --reason", USAGE)
    request = RedriveDeadLettersRequest(letter_ids=letter_ids)
    if not letter_ids:
        request.filter.CopyFrom(wanted)
    answer = ask(target, lambda services: _redriven(services, request))
    _show_result(answer, as_json=as_json)


async def _redriven(services: Services, request: RedriveDeadLettersRequest) -> RedriveDeadLettersResponse:
    """Redrives page after page; returns all letters in one answer."""
    every = RedriveDeadLettersResponse()
    while True:
        request.request_id = new_request_id()
        answer = await services.ops.RedriveDeadLetters(request)
        every.letters.extend(answer.letters)
        if not answer.next_page_token:
            return every
        request.page_token = answer.next_page_token


@dlq.command("discard")
@click.argument("letter_ids", nargs=-1, required=True)
@asks
def discard(letter_ids: tuple[str, ...], target: Target, *, as_json: bool) -> None:
    """Discard dead letters: parked signals end (an order as FAILED(DISCARDED), a signal rejected as DISCARDED).

    Records that cannot be decoded, and market data, are only marked as discarded. Order events can only be redriven.
    """
    request = DiscardDeadLettersRequest(request_id=new_request_id(), letter_ids=letter_ids)
    answer = ask(target, lambda services: services.ops.DiscardDeadLetters(request))
    _show_result(answer, as_json=as_json)


def _show_result(answer: RedriveDeadLettersResponse | DiscardDeadLettersResponse, *, as_json: bool) -> None:
    """Shows the result; exit code 1 where letters still wait."""
    letters = answer.letters
    show(
        answer,
        as_json=as_json,
        table=lambda: _letters_table(letters) if letters else "no dead letter that waits fits",
    )
    if waiting := sum(letter.state == DEAD_LETTER_STATE_WAITING for letter in letters):
        fail(
            f"{waiting} of {len(letters)} wait still: one that failed says so; the others come behind it, or once their "
            "group is there (`alphapanda dlq` shows how they stand)"
        )


def _letters_table(letters: Iterable[DeadLetter]) -> RenderableType:
    made = table("letter", "state", "reason", "key", "")
    for letter in letters:
        row(
            made,
            letter.letter_id,
            state(_standing(letter)),
            letter.reason,
            letter.key,
            letter.last_failure or letter.detail,
        )
    return made


def _standing(letter: DeadLetter) -> str:
    failed = (
        f", failed {count(letter.failures)} times"
        if letter.state == DEAD_LETTER_STATE_WAITING and letter.failures
        else ""
    )
    return word(letter, "state") + failed


def _whole(answer: GetDeadLetterResponse) -> RenderableType:
    letter, record = answer.letter, answer.record
    headers = "  ".join(f"{one.name}={one.value.decode(errors='replace')}" for one in record.headers)
    event = MessageToJson(record.event) if record.HasField("event") else "can't be read"
    return Group(
        figures(
            (name, value)
            for name, value in (
                ("letter", letter.letter_id),
                ("state", _standing(letter)),
                ("reason", letter.reason),
                ("detail", letter.detail),
                ("last failure", letter.last_failure),
                ("key", letter.key),
                ("since", shown_time(market_moment(letter, "dead_at"), TIME)),
                ("headers", headers),
                ("bytes", record.value.hex()),
            )
            if value
        ),
        "",
        event,
    )
