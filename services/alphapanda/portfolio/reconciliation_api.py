"""The part of PortfolioService that reconciles accounts with their broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import grpc
import structlog
from typing_extensions import override

from alphapanda.contract.wire import exact
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.routing import DEFAULT_BROKER
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.errors import FailedPrecondition, NotFound, Unavailable
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.mesh.status import call_failure, describe_rpc_error
from alphapanda.portfolio.core.adjustment_plan import NotBookable
from alphapanda.portfolio.core.contract_note import noted_charges
from alphapanda.portfolio.core.discrepancies import Discrepancy, resolved
from alphapanda.portfolio.core.discrepancy import Resolution, State, Unit
from alphapanda.portfolio.reconciler import Reconciler
from alphapanda.portfolio.reconciliation_messages import (
    discrepancy_message,
    look_message,
    note_message,
    outcome_message,
)
from alphapanda.portfolio.store.contract_notes import ContractNotes, NoFills, WouldBeNegative
from alphapanda.portfolio.store.discrepancies import DiscrepancyStore
from alphapanda.portfolio.store.port import AccountName, PortfolioStore
from alphapanda.storage.requests import CommandKey
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceServicer

DISCREPANCIES_PAGE = 100
"""Items on a page if the request has no page_size."""

_log = structlog.get_logger(__name__)
Context = grpc.aio.ServicerContext[Any, Any]


class ReconciliationApi(PortfolioServiceServicer):
    """Implements Reconcile, GetReconciliation, ListDiscrepancies, ResolveDiscrepancy and ImportContractNote.

    Args:
        store: the books.
        reconciler: compares accounts.
        discrepancies: what differs.
        wall_clock: returns the aware wall time.
        notes: books corrections by contract notes.
        default_account: the account that is meant where a note names none.
    """

    def __init__(
        self,
        store: PortfolioStore,
        reconciler: Reconciler,
        discrepancies: DiscrepancyStore,
        wall_clock: Callable[[], datetime],
        notes: ContractNotes,
        default_account: str,
    ) -> None:
        self._notes = notes
        self._default_account = default_account
        self._books = store
        self._reconciler = reconciler
        self._discrepancies = discrepancies
        self._wall_clock = wall_clock

    @override
    async def Reconcile(
        self, request: portfolio.ReconcileRequest, context: Context
    ) -> portfolio.ReconcileResponse:
        names = await self._names(request.broker, request.account)
        await self._discrepancies.claim(
            CommandKey(current_caller.get(), "Reconcile", request.request_id), request
        )
        return portfolio.ReconcileResponse(
            accounts=[outcome_message(await self._reconciler.reconcile(name)) for name in names]
        )

    @override
    async def GetReconciliation(
        self, request: portfolio.GetReconciliationRequest, context: Context
    ) -> portfolio.GetReconciliationResponse:
        names = await self._names(request.broker, request.account)
        return portfolio.GetReconciliationResponse(
            accounts=[look_message(name, await self._reconciler.look_alone(name)) for name in names]
        )

    @override
    async def ListDiscrepancies(
        self, request: portfolio.ListDiscrepanciesRequest, context: Context
    ) -> portfolio.ListDiscrepanciesResponse:
        if request.broker:
            self._reconciler.reader(request.broker)
        filters = f"discrepancies {request.broker} {request.account} {request.include_resolved}"
        before = decode_page_token(request.page_token, filters, int)
        size = request.page_size or DISCREPANCIES_PAGE
        found = await self._discrepancies.listed(
            request.broker,
            request.account,
            include_resolved=request.include_resolved,
            before=before[0] if before else None,
            limit=size + 1,
        )
        page = found[:size]
        return portfolio.ListDiscrepanciesResponse(
            discrepancies=[discrepancy_message(one) for _, one in page],
            next_page_token=encode_page_token((page[-1][0],), filters) if len(found) > size else "",
        )

    @override
    async def ResolveDiscrepancy(
        self, request: portfolio.ResolveDiscrepancyRequest, context: Context
    ) -> portfolio.ResolveDiscrepancyResponse:
        caller = current_caller.get()
        discrepancy_id = str(UUID(request.discrepancy_id))

        outside = await self._book(request, discrepancy_id)

        def change(one: Discrepancy) -> tuple[Discrepancy, tuple[tuple[Unit, int], ...]]:
            if one.state is State.RESOLVED:
                raise FailedPrecondition(
                    "DISCREPANCY_RESOLVED", f"{discrepancy_id} is over already: {one.resolution.name}"
                )
            resolution = Resolution(request.resolution)
            return resolved(one, resolution, self._wall_clock(), caller, request.reason, outside)

        try:
            given, name = await self._discrepancies.resolve(
                CommandKey(caller, "ResolveDiscrepancy", request.request_id),
                request,
                discrepancy_id,
                change,
                lambda one: portfolio.ResolveDiscrepancyResponse(discrepancy=discrepancy_message(one)),
            )
        except LookupError:
            raise NotFound("NO_DISCREPANCY", f"there is no discrepancy {discrepancy_id!r}") from None
        if name is not None:
            await self._reconciler.tell_risk(name)
        return portfolio.ResolveDiscrepancyResponse.FromString(given)

    async def _book(
        self, request: portfolio.ResolveDiscrepancyRequest, discrepancy_id: str
    ) -> tuple[tuple[Unit, int], ...]:
        """Books what a discrepancy is of where that is asked for; returns what counts as held outside besides."""
        ratio = request.new_units, request.old_units
        if Resolution(request.resolution) is not Resolution.BOOKED:
            if any(ratio) or request.strategy_id:
                raise InvalidInput(
                    "resolution", Resolution(request.resolution).name, "BOOKED with a ratio or strategy"
                )
            return ()
        found = await self._discrepancies.find(discrepancy_id)
        if found is None or found.state is State.RESOLVED:
            return ()  # what it says of that is the answer
        try:
            return await self._reconciler.book(found, ratio, request.strategy_id, request.reason)
        except NotBookable as error:
            raise FailedPrecondition("NOT_BOOKABLE", str(error)) from None
        except grpc.aio.AioRpcError as error:
            failure = call_failure(error)
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise FailedPrecondition(failure.reason or "POSITION_CHANGED", failure.message) from None
            raise Unavailable(
                "BROKER_NOT_READY", f"trading can't book it now: {describe_rpc_error(error)}"
            ) from None

    @override
    async def ImportContractNote(
        self, request: portfolio.ImportContractNoteRequest, context: Context
    ) -> portfolio.ImportContractNoteResponse:
        (name,) = await self._names(request.broker, request.account or self._default_account)
        try:
            day = date.fromisoformat(request.day)
        except ValueError:
            raise InvalidInput("day", request.day, "a day as YYYY-MM-DD") from None
        lines: dict[str, Decimal] = {}
        for line in request.lines:
            if line.name in lines:
                raise InvalidInput("lines.name", line.name, "each line once")
            lines[line.name] = exact(line.amount)
        key = CommandKey(current_caller.get(), "ImportContractNote", request.request_id)
        try:
            given = await self._notes.book(key, request, name, day, noted_charges(lines), note_message)
        except NoFills:
            raise FailedPrecondition(
                "NO_FILLS_OF_DAY", f"nothing was traded in {name.broker} account {name.account} on {day}"
            ) from None
        except WouldBeNegative as error:
            raise FailedPrecondition(
                "CHARGES_NEGATIVE",
                f"the note takes more back of {error} than was ever booked: is it of {day}?",
            ) from None
        answer = portfolio.ImportContractNoteResponse.FromString(given)
        _log.info(
            "contract_note.booked",
            broker=name.broker,
            account=name.account,
            day=request.day,
            corrected=answer.corrected.amount.value,
        )
        return answer

    async def _names(self, broker: str, account: str) -> Sequence[AccountName]:
        broker = broker or DEFAULT_BROKER
        self._reconciler.reader(broker)
        names = await self._books.accounts(broker)
        if not account:
            return names
        name = AccountName(broker, account)
        if name not in names:
            raise NotFound("NO_ACCOUNT", f"broker {broker!r} has no open account {account!r}")
        return [name]
