"""The part of OpsService that reads the log: dead letters, lag, tails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from alphapanda.consuming.dead_letters import Ending
from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import timestamp
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.frame import instant
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import EventLog, Start
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.mesh.watches import WatchLimit
from alphapanda.ops.dead_letters import DeadLetterDesk
from alphapanda.ops.lag import PartitionLag, consumer_lag
from alphapanda.ops.letter_index import KnownLetter, Place, Standing, Wanted
from alphapanda.ops.records import log_record, tail
from panda.ops.v1 import ops_pb2 as pb

_LETTERS_A_PAGE = 50
_REDRIVEN_A_PAGE = 500
_LAGS_A_PAGE = 500
MOST_TAILS = 20
"""Tails that are open at once: each has a reader of its own on the log."""
_STATES = {
    None: pb.DEAD_LETTER_STATE_WAITING,
    Ending.REDRIVEN: pb.DEAD_LETTER_STATE_REDRIVEN,
    Ending.DISCARDED: pb.DEAD_LETTER_STATE_DISCARDED,
}
_STANDINGS = {
    pb.DEAD_LETTER_STATE_UNSPECIFIED: Standing.ANY,
    pb.DEAD_LETTER_STATE_WAITING: Standing.WAITING,
    pb.DEAD_LETTER_STATE_REDRIVEN: Standing.REDRIVEN,
    pb.DEAD_LETTER_STATE_DISCARDED: Standing.DISCARDED,
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
        await self._check(request.filter)
        page, token = await self._letters(
            _wanted(request.filter), request.filter, request.page_token, request.page_size or _LETTERS_A_PAGE
        )
        return pb.ListDeadLettersResponse(letters=map(self._message, page), next_page_token=token)

    async def get_dead_letter(self, request: pb.GetDeadLetterRequest) -> pb.GetDeadLetterResponse:
        """See OpsService."""
        known, letter = await self._desk.letter(request.letter_id)
        return pb.GetDeadLetterResponse(letter=self._message(known), record=log_record(letter.original))

    async def redrive(self, request: pb.RedriveDeadLettersRequest) -> pb.RedriveDeadLettersResponse:
        """See OpsService."""
        by_filter = request.HasField("filter")
        if by_filter == bool(request.letter_ids):
            raise InvalidInput("letter_ids", len(request.letter_ids), "either letter_ids or a filter")
        if by_filter and not request.filter.ByteSize():
            raise InvalidInput("filter", "", "at least one condition; redriving everything is never meant")
        await self._check(request.filter)
        if not by_filter:
            chosen, token = await self._desk.named(request.letter_ids), ""
        elif request.filter.state in {pb.DEAD_LETTER_STATE_UNSPECIFIED, pb.DEAD_LETTER_STATE_WAITING}:
            waiting = replace(_wanted(request.filter), standing=Standing.WAITING)
            chosen, token = await self._letters(
                waiting, request.filter, request.page_token, request.page_size or _REDRIVEN_A_PAGE
            )
        else:
            chosen, token = (), ""
        done = await self._desk.redrive(chosen, whole_keys=by_filter)
        return pb.RedriveDeadLettersResponse(letters=map(self._message, done), next_page_token=token)

    async def discard(self, request: pb.DiscardDeadLettersRequest) -> pb.DiscardDeadLettersResponse:
        """See OpsService."""
        done = await self._desk.discard(await self._desk.named(request.letter_ids))
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
        with self._tails.opened():
            async for record in tail(self._log, request.topic, start, request.limit):
                yield pb.TailTopicResponse(record=log_record(record))

    async def _check(self, wanted: pb.DeadLetterFilter) -> None:
        """A name that there isn't would read as if nothing waited."""
        groups = {*self._groups}
        if wanted.group and wanted.group not in groups:
            groups.update(await self._desk.groups())
        for name, known in (("topic", self._topic_map.sources()), ("group", groups), ("reason", {*Reason})):
            if (value := getattr(wanted, name)) and value not in known:
                raise UnknownName(f"filter.{name}", value, known)

    async def _letters(
        self, wanted: Wanted, asked: pb.DeadLetterFilter, page_token: str, size: int
    ) -> tuple[Sequence[KnownLetter], str]:
        """A page of letters and the token of the next; tokens are bound to the filter that was asked with."""
        filters = asked.SerializeToString(deterministic=True).hex()
        after: Place | None = None
        if key := decode_page_token(page_token, filters, str, int, int, str):
            after = (key[0], key[1], key[2], key[3])
        found = await self._desk.page(wanted, after, size + 1)
        page = found[:size]
        return page, encode_page_token(page[-1].place, filters) if len(found) > size else ""

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


def _wanted(letters: pb.DeadLetterFilter) -> Wanted:
    return Wanted(letters.topic, letters.group, letters.key, letters.reason, _STANDINGS[letters.state])


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
