"""The part of OpsService that reads the log: dead letters, lag, tails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.frame import instant
from alphapanda.eventlog.dead_letters import Ending
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import EventLog, Start
from alphapanda.eventlog.topics import TopicMap
from alphapanda.eventlog.wire import timestamp
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.mesh.watches import WatchLimit
from alphapanda.ops.dead_letters import DeadLetterDesk, KnownLetter
from alphapanda.ops.lag import PartitionLag, consumer_lag
from alphapanda.ops.records import log_record, tail
from panda.ops.v1 import ops_pb2 as pb

_LETTERS_A_PAGE = 50
_LAGS_A_PAGE = 500
MOST_TAILS = 20
"""Tails that are open at once: each has a reader of its own on the log."""
_STATES = {
    None: pb.DEAD_LETTER_STATE_WAITING,
    Ending.REDRIVEN: pb.DEAD_LETTER_STATE_REDRIVEN,
    Ending.DISCARDED: pb.DEAD_LETTER_STATE_DISCARDED,
}


class LogApi:
    """Answers about the log.

    Args:
        log: it.
        topic_map: the deployment's topics.
        groups: the payloads that each consumer group reads.
    """

    def __init__(self, log: EventLog, topic_map: TopicMap, groups: Mapping[str, Sequence[str]]) -> None:
        self._log = log
        self._topic_map = topic_map
        self._groups = groups
        self._desk = DeadLetterDesk(log, topic_map)
        self._tails = WatchLimit(MOST_TAILS, "tails of topics")

    async def start(self) -> None:
        """Nothing is read before somebody asks."""

    async def stop(self) -> None:
        """Lets go of the log."""
        await self._desk.stop()

    async def list_dead_letters(self, request: pb.ListDeadLettersRequest) -> pb.ListDeadLettersResponse:
        """See OpsService."""
        known = await self._desk.letters()
        self._check(request.filter, known)
        filters = request.filter.SerializeToString(deterministic=True).hex()
        after = decode_page_token(request.page_token, filters, str, int, int, str)
        found = [letter for letter in known if _fits(letter, request.filter)]
        if after is not None:
            found = [letter for letter in found if [*letter.place] > after]
        size = request.page_size or _LETTERS_A_PAGE
        page = found[:size]
        return pb.ListDeadLettersResponse(
            letters=map(self._message, page),
            next_page_token=encode_page_token(page[-1].place, filters) if len(found) > size else "",
        )

    async def get_dead_letter(self, request: pb.GetDeadLetterRequest) -> pb.GetDeadLetterResponse:
        """See OpsService."""
        known, letter = await self._desk.letter(request.letter_id)
        return pb.GetDeadLetterResponse(letter=self._message(known), record=log_record(letter.original))

    async def redrive(self, request: pb.RedriveDeadLettersRequest) -> pb.RedriveDeadLettersResponse:
        """See OpsService."""
        letters = await self._desk.letters()
        by_filter = request.HasField("filter")
        if by_filter == bool(request.letter_ids):
            raise InvalidInput("letter_ids", len(request.letter_ids), "either letter_ids or a filter")
        if by_filter and not request.filter.ByteSize():
            raise InvalidInput("filter", "", "at least one condition; redriving everything is never meant")
        self._check(request.filter, letters)
        chosen = (
            [letter for letter in letters if letter.waits and _fits(letter, request.filter)]
            if by_filter
            else self._desk.named(request.letter_ids)
        )
        done = await self._desk.redrive(chosen, whole_keys=by_filter)
        return pb.RedriveDeadLettersResponse(letters=map(self._message, done))

    async def discard(self, request: pb.DiscardDeadLettersRequest) -> pb.DiscardDeadLettersResponse:
        """See OpsService."""
        await self._desk.letters()
        done = await self._desk.discard(self._desk.named(request.letter_ids))
        return pb.DiscardDeadLettersResponse(letters=map(self._message, done))

    async def list_lag(self, request: pb.ListConsumerLagRequest) -> pb.ListConsumerLagResponse:
        """See OpsService."""
        if request.group and request.group not in self._groups:
            raise UnknownName("group", request.group, self._groups)
        filters = f"{request.group}/{request.behind}"
        after = decode_page_token(request.page_token, filters, str, str, int)
        groups = {request.group: self._groups[request.group]} if request.group else self._groups
        lags = await consumer_lag(self._log, self._topic_map, groups)
        found = [lag for lag in lags if lag.lag or not request.behind]
        if after is not None:
            found = [lag for lag in found if [*_place(lag)] > after]
        size = request.page_size or _LAGS_A_PAGE
        page = found[:size]
        return pb.ListConsumerLagResponse(
            lags=map(_lag_message, page),
            next_page_token=encode_page_token(_place(page[-1]), filters) if len(found) > size else "",
        )

    async def tail(self, request: pb.TailTopicRequest) -> AsyncIterator[pb.TailTopicResponse]:
        """See OpsService."""
        known = {spec.name for spec in self._topic_map.specs()}
        if request.topic not in known:
            raise UnknownName("topic", request.topic, known)
        start: Start | int = Start.LATEST
        match request.WhichOneof("start"):
            case "offset":
                start = request.offset
            case "beginning" if request.beginning:
                start = Start.EARLIEST
            case _:
                start = Start.LATEST
        with self._tails.one_more():
            async for record in tail(self._log, request.topic, start, request.limit):
                yield pb.TailTopicResponse(record=log_record(record))

    def _check(self, wanted: pb.DeadLetterFilter, letters: Sequence[KnownLetter]) -> None:
        """A name that there isn't would read as if nothing waited."""
        groups = {*self._groups, *(letter.letter_id.group for letter in letters)}
        for name, known in (("topic", self._topic_map.sources()), ("group", groups), ("reason", {*Reason})):
            if (value := getattr(wanted, name)) and value not in known:
                raise UnknownName(f"filter.{name}", value, known)

    def _message(self, letter: KnownLetter) -> pb.DeadLetter:
        whose = letter.letter_id
        return pb.DeadLetter(
            letter_id=str(whose),
            group=whose.group,
            topic=whose.topic,
            partition=whose.partition,
            offset=whose.offset,
            broker=self._topic_map.broker(whose.topic),
            key=letter.key.decode(errors="replace"),
            reason=letter.reason.value,
            detail=letter.detail,
            state=_STATES[letter.ending],
            last_failure=letter.last_failure,
            dead_at=timestamp(instant(letter.dead_at_ns)),
            failures=letter.failures,
        )


def _fits(letter: KnownLetter, wanted: pb.DeadLetterFilter) -> bool:
    whose = letter.letter_id
    return (
        wanted.topic in {"", whose.topic}
        and wanted.group in {"", whose.group}
        and wanted.key in {"", letter.key.decode(errors="replace")}
        and wanted.reason in {"", letter.reason.value}
        and wanted.state in {pb.DEAD_LETTER_STATE_UNSPECIFIED, _STATES[letter.ending]}
    )


def _place(lag: PartitionLag) -> tuple[str, str, int]:
    return lag.group, lag.topic, lag.partition


def _lag_message(lag: PartitionLag) -> pb.ConsumerLag:
    return pb.ConsumerLag(
        group=lag.group,
        topic=lag.topic,
        broker=lag.broker,
        partition=lag.partition,
        committed=lag.committed,
        end=lag.end,
        lag=lag.lag,
    )
