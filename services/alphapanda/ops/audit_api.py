"""Implements OpsService.ListAuditEntries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

import grpc

from alphapanda.contract.catalogue import service_descriptors
from alphapanda.contract.method_policy import service_policies
from alphapanda.contract.wire import optional_moment, timestamp
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.frame import instant, nanoseconds
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.storage.audit import NO_OUTCOME, AuditEntry, AuditFilter
from panda.ops.v1 import ops_pb2 as pb

DEFAULT_PAGE: Final = 50
"""Entries on a page if the request doesn't set page_size."""

CLI_COMMANDS: Final = tuple(
    f"alphapanda {name}" for name in ("restore", "log repair", "db upgrade", "first admin")
)
"""Commands of the command line that change something without an RPC."""

OUTCOMES: Final = ("OK", NO_OUTCOME, *(code.name for code in grpc.StatusCode if code.name != "OK"))
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


class AuditReader(Protocol):
    """Reads the audit's table."""

    async def page(
        self, wanted: AuditFilter, before: tuple[datetime, int] | None, most: int
    ) -> Sequence[AuditEntry]:
        """Reads the newest entries that match, before (started_at, number) of the page before."""


class AuditApi:
    """Answers about the audit.

    Args:
        reader: reads the entries.
    """

    def __init__(self, reader: AuditReader) -> None:
        self._reader = reader

    async def list(self, request: pb.ListAuditEntriesRequest) -> pb.ListAuditEntriesResponse:
        """Returns a page of entries, newest first.

        Raises:
            InvalidInput: the correlation id is no UUID, or the page token belongs to other filters.
            UnknownName: there is no such command, or no such outcome.
        """
        wanted = wanted_of(request)
        filters = f"audit {wanted}"
        token = decode_page_token(request.page_token, filters, int, int)
        before = None if token is None else (instant(token[0]), token[1])
        size = request.page_size or DEFAULT_PAGE
        found = await self._reader.page(wanted, before, size + 1)
        page = found[:size]
        following = ""
        if len(found) > size:
            following = encode_page_token((nanoseconds(page[-1].started_at), page[-1].number), filters)
        return pb.ListAuditEntriesResponse(
            entries=[entry_message(one) for one in page], next_page_token=following
        )


def wanted_of(request: pb.ListAuditEntriesRequest) -> AuditFilter:
    """Reads the filter of a request."""
    chain = request.correlation_id
    if chain and not _UUID.fullmatch(chain):
        raise InvalidInput("correlation_id", chain, "a UUID, or 32 hex digits")
    outcome = request.outcome.upper()
    if outcome and outcome not in OUTCOMES:
        raise UnknownName("outcome", request.outcome, OUTCOMES)
    return AuditFilter(
        caller=request.caller,
        method=found_method(request.method) if request.method else "",
        outcome=outcome,
        correlation_id=str(UUID(chain)) if chain else "",
        since=optional_moment(request, "since"),
        until=optional_moment(request, "until"),
    )


def found_method(name: str) -> str:
    """Returns the full name of a command: as it is, or found by its last part.

    Raises:
        UnknownName: there is none of this name.
    """
    known = {
        policy.method
        for service in service_descriptors()
        for policy in service_policies(service).values()
        if policy.is_command
    } | set(CLI_COMMANDS)
    last = name.strip().removeprefix("alphapanda ").replace(".", "/").rpartition("/")[2].lower()
    found = [one for one in known if one == name or last_part(one).lower() == last]
    if len(found) != 1:
        raise UnknownName("method", name, map(last_part, known))
    return found[0]


def last_part(method: str) -> str:
    """What people call a command: "SetKillSwitch", "restore"."""
    return method.removeprefix("alphapanda ").rpartition("/")[2]


def entry_message(entry: AuditEntry) -> pb.AuditEntry:
    """Converts an entry to its message."""
    message = pb.AuditEntry(
        number=entry.number,
        started_at=timestamp(entry.started_at),
        service=entry.service,
        method=entry.method,
        caller=entry.caller,
        peer=entry.peer,
        request_id=entry.request_id,
        correlation_id=entry.correlation_id,
        request=_json(entry.request),
        calls=entry.calls,
    )
    if (outcome := entry.outcome) is not None:
        message.ended_at.CopyFrom(timestamp(outcome.ended_at) or message.ended_at)
        message.outcome, message.reason, message.message = outcome.outcome, outcome.reason, outcome.message
        message.before, message.after = _json(outcome.before), _json(outcome.after)
        message.subjects.extend(outcome.subjects)
    return message


def _json(fields: Mapping[str, Any] | None) -> str:
    return "" if fields is None else json.dumps(fields, ensure_ascii=False, sort_keys=True)
