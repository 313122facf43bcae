"""The RPCs of OpsService that read the log: dead letters, consumer lag, tails of topics, records that name an id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from alphapanda.consuming.dead_letters import Ending
from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import optional_moment, timestamp
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.frame import instant
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import EventLog, Start
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.mesh.watches import WatchLimit
from alphapanda.ops.dead_letters import DeadLetterService
from alphapanda.ops.lag import PartitionLag, consumer_lag
from alphapanda.ops.letter_index import KnownLetter, LetterFilter, LetterState, Place
from alphapanda.ops.letter_requests import LetterRequest
from alphapanda.ops.record_search import RecordSearch, Wanted
from alphapanda.ops.records import log_record, tail
from alphapanda.telemetry.figures import Point
from alphapanda.telemetry.gauges import DEAD_LETTERS
from panda.ops.v1 import ops_pb2 as pb

_LETTERS_A_PAGE = 50
_REDRIVEN_A_PAGE = 500
_LAGS_A_PAGE = 500
_RECORDS_FOUND = 500
MOST_TAILS = 20
"""Limit on open tails: each has a reader of its own on the log."""
_STATES = {
    None: pb.DEAD_LETTER_STATE_WAITING,
    Ending.REDRIVEN: pb.DEAD_LETTER_STATE_REDRIVEN,
    Ending.DISCARDED: pb.DEAD_LETTER_STATE_DISCARDED,
}
_LETTER_STATES = {
    pb.DEAD_LETTER_STATE_UNSPECIFIED: LetterState.ANY,
    pb.DEAD_LETTER_STATE_WAITING: LetterState.WAITING,
    pb.DEAD_LETTER_STATE_REDRIVEN: LetterState.REDRIVEN,
    pb.DEAD_LETTER_STATE_DISCARDED: LetterState.DISCARDED,
}


class LogApi:
    """Implements the RPCs of OpsService that read the log.

    Args:
        log: the log.
        topic_map: the deployment's topics.
        groups: the payloads that each consumer group reads.
    """

    def __init__(self, log: EventLog, topic_map: TopicMap, groups: Mapping[str, Sequence[str]]) -> None:
        self._log = log
        self._topic_map = topic_map
        self._groups = groups
        self._dead_letters = DeadLetterService(log, topic_map)
        self._tails = WatchLimit(MOST_TAILS, "tails of topics")
        self._search = RecordSearch(log, topic_map)

    async def start(self) -> None:
        """Does nothing: the log is read with the first request."""

    async def stop(self) -> None:
        """Closes the readers of the log."""
        await self._dead_letters.stop()

    async def points(self) -> Sequence[Point]:
        """Returns the number of dead letters that wait, by topic."""
        waiting = await self._dead_letters.waiting()
        return [
            Point(DEAD_LETTERS, waiting.get(topic, 0), (topic, self._topic_map.broker(topic)))
            for topic in self._topic_map.sources()
        ]

    async def list_dead_letters(self, request: pb.ListDeadLettersRequest) -> pb.ListDeadLettersResponse:
        """Returns a page of dead letters that match a filter."""
        await self._check(request.filter)
        page, token = await self._letters(
            _wanted(request.filter), request.filter, request.page_token, request.page_size or _LETTERS_A_PAGE
        )
        return pb.ListDeadLettersResponse(letters=map(self._message, page), next_page_token=token)

    async def get_dead_letter(self, request: pb.GetDeadLetterRequest) -> pb.GetDeadLetterResponse:
        """Returns one dead letter with its record."""
        known, letter = await self._dead_letters.letter(request.letter_id)
        return pb.GetDeadLetterResponse(letter=self._message(known), record=log_record(letter.original))

    async def redrive(self, request: pb.RedriveDeadLettersRequest) -> pb.RedriveDeadLettersResponse:
        """Redrives dead letters, by id or by filter."""
        by_filter = request.HasField("filter")
        if by_filter == bool(request.letter_ids):
            raise InvalidInput("letter_ids", len(request.letter_ids), "either letter_ids or a filter")
        if by_filter and not request.filter.ByteSize():
            raise InvalidInput("filter", "", "at least one condition; redriving everything is never meant")
        await self._check(request.filter)

        async def choose() -> tuple[Sequence[KnownLetter], str]:
            if not by_filter:
                return await self._dead_letters.named(request.letter_ids), ""
            if request.filter.state not in {pb.DEAD_LETTER_STATE_UNSPECIFIED, pb.DEAD_LETTER_STATE_WAITING}:
                return (), ""
            waiting = replace(_wanted(request.filter), state=LetterState.WAITING)
            size = request.page_size or _REDRIVEN_A_PAGE
            return await self._letters(waiting, request.filter, request.page_token, size)

        command = LetterRequest.of(current_caller.get(), "RedriveDeadLetters", request.request_id, request)
        done, token = await self._dead_letters.redrive(command, choose, whole_keys=by_filter)
        return pb.RedriveDeadLettersResponse(letters=map(self._message, done), next_page_token=token)

    async def discard(self, request: pb.DiscardDeadLettersRequest) -> pb.DiscardDeadLettersResponse:
        """Discards dead letters, by id."""

        async def choose() -> tuple[Sequence[KnownLetter], str]:
            return await self._dead_letters.named(request.letter_ids), ""

        command = LetterRequest.of(current_caller.get(), "DiscardDeadLetters", request.request_id, request)
        done = await self._dead_letters.discard(command, choose)
        return pb.DiscardDeadLettersResponse(letters=map(self._message, done))

    async def list_lag(self, request: pb.ListConsumerLagRequest) -> pb.ListConsumerLagResponse:
        """Returns a page of the groups' lag by partition."""
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
        """Streams a topic's records from an offset, the beginning or the end on."""
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

    async def search_records(self, request: pb.SearchRecordsRequest) -> pb.SearchRecordsResponse:
        """Returns the records of the log that name one of the ids."""
        for topic in request.topics:
            if topic not in self._search.topics:
                raise UnknownName("topics", topic, self._search.topics)
        since, until = optional_moment(request, "since"), optional_moment(request, "until")
        if since is not None and until is not None and until <= since:
            raise InvalidInput("until", until.isoformat(), f"a time after since, {since.isoformat()}")
        found = await self._search.find(
            Wanted(
                [one.lower() for one in request.ids],
                tuple(request.topics) or self._search.without_frames,
                since,
                until,
                request.limit or _RECORDS_FOUND,
            )
        )
        letters = await self._dead_letters.of_records(found.records)
        return pb.SearchRecordsResponse(
            records=map(log_record, found.records),
            examined=found.examined,
            incomplete=found.incomplete,
            letters=map(self._message, letters),
        )

    async def _check(self, wanted: pb.DeadLetterFilter) -> None:
        """Refuses unknown names: an empty page would read as if nothing waited."""
        groups = {*self._groups}
        if wanted.group and wanted.group not in groups:
            groups.update(await self._dead_letters.groups())
        for name, known in (("topic", self._topic_map.sources()), ("group", groups), ("reason", {*Reason})):
            if (value := getattr(wanted, name)) and value not in known:
                raise UnknownName(f"filter.{name}", value, known)

    async def _letters(
        self, wanted: LetterFilter, asked: pb.DeadLetterFilter, page_token: str, size: int
    ) -> tuple[Sequence[KnownLetter], str]:
        """Returns a page of letters and the token of the next page; the token is bound to the request's filter."""
        filters = asked.SerializeToString(deterministic=True).hex()
        after: Place | None = None
        if key := decode_page_token(page_token, filters, str, int, int, str):
            after = (key[0], key[1], key[2], key[3])
        found = await self._dead_letters.page(wanted, after, size + 1)
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


def _wanted(letters: pb.DeadLetterFilter) -> LetterFilter:
    return LetterFilter(
        letters.topic, letters.group, letters.key, letters.reason, _LETTER_STATES[letters.state]
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
