"""A contract note on PostgreSQL: corrections in the ledger, once, and books that still prove."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from portfolio_fills import Fills
from portfolio_service import NOBODY, stored_in
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.contract.wire import decimal
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.mesh.errors import FailedPrecondition
from alphapanda.portfolio.brokers.reader import BrokerReader
from alphapanda.portfolio.core.ledger import LedgerAccount
from alphapanda.portfolio.reconciler import Reconciler
from alphapanda.portfolio.reconciliation_api import ReconciliationApi
from alphapanda.portfolio.store.contract_notes import ContractNotes
from alphapanda.portfolio.store.port import AccountName
from alphapanda.storage.requests import RequestReused
from panda.common.v1 import common_pb2 as common
from panda.portfolio.v1 import portfolio_pb2 as portfolio

NAME = AccountName("zerodha", "default")
NOW = datetime(2024, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
async def books(engine: AsyncEngine) -> tuple[Any, ReconciliationApi]:
    """Two strategies that traded on 2 January and one fill of the day after."""
    store = stored_in(engine)
    fills = Fills("zerodha")
    batch = [
        fills(1, 100, "1500", charged=True),
        fills(2, -100, "1510", charged=True),
        fills(3, 50, "1500", strategy="other", charged=True),
        fills(4, 50, "1500", strategy="other", day=1, charged=True),
    ]
    async with store.unit(batch, Decimal(0)) as unit:
        for one in batch:
            unit.book(one)
    reconciler = Reconciler(
        store, NOBODY, {"zerodha": cast("BrokerReader", object())}, NOBODY, NOBODY, lambda: NOW
    )
    return store, ReconciliationApi(store, reconciler, NOBODY, lambda: NOW, ContractNotes(engine), "default")


def note(
    day: str = "2024-01-02", request_id: str = "n1", **lines: str
) -> portfolio.ImportContractNoteRequest:
    return portfolio.ImportContractNoteRequest(
        request_id=request_id,
        broker="zerodha",
        day=day,
        lines=[common.ChargeLine(name=name, amount=decimal(Decimal(each))) for name, each in lines.items()],
    )


LINES = {
    "brokerage": "60.00", "stt": "38", "exchange_transaction": "12.31", "sebi": "0.38", "stamp_duty": "7", "gst": "13.08",
}  # fmt: skip


async def test_rule_18_a_days_charges_become_those_of_its_note(books: tuple[Any, ReconciliationApi]) -> None:
    """Ledger, positions, totals and cash move together and still prove; other days stay; the same note again changes nothing."""
    store, api = books
    before = await store.books(NAME)
    answer = await api.ImportContractNote(note(**LINES), None)
    assert answer.fills == 3
    after = await store.books(NAME)
    corrected = Decimal(answer.corrected.amount.value)
    assert corrected != 0
    assert (before.cash - after.cash, after.day_charges - before.day_charges) == (corrected, corrected)
    assert after.changed_at == before.changed_at
    assert list(await store.disagreements(NAME)) == []
    for one in answer.lines:
        noted = Decimal(one.noted.amount.value)
        assert noted == Decimal(LINES.get(one.name, "0"))
        assert Decimal(one.booked.amount.value) + Decimal(one.corrected.amount.value) == noted
    ledger = await store.ledger(NAME, strategy_id="", after=before.revision * 0, limit=1000)
    own = [line for line in ledger if not line.fill_id and line.ledger_account is LedgerAccount.CHARGES]
    assert {line.strategy_id for line in own} == {"ema", "other"}
    assert sum(line.amount for line in own) == corrected
    charges = {line.name: line.amount for line in (await store.charges(NAME, strategy_id="ema")).lines}
    assert sum(charges.values()) == next(one.charges for one in after.strategies if one.strategy_id == "ema")
    assert await api.ImportContractNote(note(**LINES), None) == answer
    again = await api.ImportContractNote(note(request_id="n2", **LINES), None)
    assert again.corrected.amount.value in ("0", "0.00")
    assert (await store.books(NAME)).revision == after.revision
    with pytest.raises(RequestReused):
        await api.ImportContractNote(note(stt="1"), None)


async def test_a_further_note_corrects_from_there(books: tuple[Any, ReconciliationApi]) -> None:
    """A note that was typed wrong is put right by the right one."""
    store, api = books
    await api.ImportContractNote(note(**(LINES | {"stt": "380"})), None)
    answer = await api.ImportContractNote(note(request_id="n2", **LINES), None)
    assert Decimal(answer.corrected.amount.value) == -342
    assert list(await store.disagreements(NAME)) == []


async def test_what_is_no_note_of_a_day_is_refused(books: tuple[Any, ReconciliationApi]) -> None:
    """A day without fills, no day, a line twice, a line that no note has: nothing is booked."""
    store, api = books
    before = await store.books(NAME)
    with pytest.raises(FailedPrecondition, match="nothing was traded"):
        await api.ImportContractNote(note("2024-01-05", stt="1"), None)
    with pytest.raises(InvalidInput, match="YYYY-MM-DD"):
        await api.ImportContractNote(note("2024-13-05", stt="1"), None)
    with pytest.raises(UnknownName, match="stt"):
        await api.ImportContractNote(note(sst="1"), None)
    twice = note(stt="1")
    twice.lines.append(twice.lines[0])
    with pytest.raises(InvalidInput, match="once"):
        await api.ImportContractNote(twice, None)
    assert await store.books(NAME) == before
