"""Corrections of a day's charges by the broker's contract note, in PostgreSQL: ledger, positions, totals and cash in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from google.protobuf.message import Message
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.domain import ids
from alphapanda.domain.charge_rates import COMMISSION, Sureness
from alphapanda.domain.charges import ChargeLine, Charges, charges_from_text, charges_of, charges_text, merged
from alphapanda.domain.money import ZERO
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.contract_note import Corrections, DayCharges, by_name, corrections
from alphapanda.portfolio.core.ledger import correction
from alphapanda.portfolio.store import rows
from alphapanda.portfolio.store import statements as sql
from alphapanda.portfolio.store.port import AccountName, BookedFill
from alphapanda.storage.recordset import recordset, rows_of
from alphapanda.storage.requests import CommandKey, RequestMemory

_IST: Final = timedelta(hours=5, minutes=30)
_PAGE: Final = 500
_ACCOUNT: Final = "broker = :broker AND account = :account"
_KEY: Final = "broker, account, strategy_id, instrument_id, product"
_LOCK = text(f"SELECT * FROM portfolio.accounts WHERE {_ACCOUNT} FOR UPDATE")
_EARLIER = text(f"SELECT * FROM portfolio.note_corrections WHERE {_ACCOUNT} AND day = :day")
_POSITION = text(
    f"SELECT * FROM portfolio.positions WHERE {_ACCOUNT} AND strategy_id = :strategy_id AND instrument_id = :instrument_id"
    " AND product = :product"
)
_KEEP = text(
    f"INSERT INTO portfolio.note_corrections ({_KEY}, day, charges)"
    f" SELECT {_KEY}, day, charges FROM {rows_of('portfolio.note_corrections', 'corrections')}"
    f" ON CONFLICT (broker, account, day, strategy_id, instrument_id, product) DO UPDATE SET charges = excluded.charges"
)


class NoFills(LookupError):
    """Nothing was traded on the note's day."""


class WouldBeNegative(ValueError):
    """A correction would take more back than a position or strategy has ever paid."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What a contract note has changed, and how many fills the day has."""

    corrections: Corrections
    fills: int


class ContractNotes:
    """Books corrections.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._requests = RequestMemory(sql.SCHEMA)

    async def book(
        self,
        key: CommandKey,
        request: Message,
        name: AccountName,
        day: date,
        noted: Charges,
        answer: Callable[[Noted], Message],
    ) -> bytes:
        """Books what a day's charges differ from its note by, by a command, once; returns the answer.

        Args:
            key: the command.
            request: its body.
            name: an open account.
            day: the note's day in India.
            noted: the note's charges.
            answer: makes the answer.

        Raises:
            NoFills: nothing was traded on that day.
            WouldBeNegative: more would be taken back than was paid.
            RequestReused: the request_id came with another body.
        """
        async with self._engine.begin() as connection:
            given = await self._requests.claim(connection, key, request)
            if given is not None:
                return given
            account = (await connection.execute(_LOCK, name._asdict())).one()
            fills = await _fills_of(connection, name, day)
            if not fills:
                raise NoFills(str(day))
            earlier = {
                rows.key_of(row): charges_from_text(row.charges)
                for row in await connection.execute(_EARLIER, name._asdict() | {"day": day})
            }
            found = corrections(_day_charges(fills, earlier), noted)
            if found.by_key:
                await _write(connection, name, account, day, found.by_key, earlier)
            message = answer(Noted(found, len(fills)))
            await self._requests.remember(connection, key, message)
        return message.SerializeToString(deterministic=True)


async def _fills_of(connection: AsyncConnection, name: AccountName, day: date) -> list[BookedFill]:
    """The fills of a day; they are read from the newest one back, because they are numbered as they were booked."""
    begin = datetime.combine(day, time(0), UTC) - _IST
    end, found = begin + timedelta(days=1), []
    values: dict[str, object] = name._asdict() | {"limit": _PAGE}
    filters: tuple[str, ...] = ()
    while True:
        page = [rows.fill_of(row) for row in await connection.execute(sql.FILLS(*filters), values)]
        found += [one for one in page if begin <= one.traded_at < end]
        if len(page) < _PAGE or page[-1].traded_at < begin - timedelta(days=1):
            return found
        filters, values = ("before",), values | {"before": page[-1].revision}


def _day_charges(
    fills: Sequence[BookedFill], earlier: Mapping[PositionKey, Charges]
) -> dict[PositionKey, DayCharges]:
    parts: dict[PositionKey, list[Charges]] = {}
    turnover: dict[PositionKey, Decimal] = {}
    for fill in fills:
        only_sum = (
            charges_of([ChargeLine(COMMISSION, fill.paid, Sureness.UNRATED)]) if fill.paid else Charges()
        )
        parts.setdefault(fill.key, []).append(fill.charges or only_sum)
        turnover[fill.key] = turnover.get(fill.key, ZERO) + fill.quantity * fill.price
    for key, corrected in earlier.items():
        parts.setdefault(key, []).append(corrected)
    return {key: DayCharges(merged(found), turnover.get(key, Decimal(1))) for key, found in parts.items()}


async def _write(
    connection: AsyncConnection,
    name: AccountName,
    account: Row[Any],
    day: date,
    found: Mapping[PositionKey, Charges],
    earlier: Mapping[PositionKey, Charges],
) -> None:
    at = datetime.combine(day, time(23, 59, 59), UTC) - _IST
    revision, sequence, paid = account.revision, account.entries + 1, ZERO
    tables: dict[str, list[rows.Values]] = {
        "ledger_transactions": [],
        "ledger_entries": [],
        "positions": [],
        "charge_totals": [],
    }
    by_strategy: dict[str, Decimal] = {}
    lines: dict[str, list[Charges]] = {}
    kept = []
    for key in sorted(found, key=by_name):
        charges = found[key]
        lines.setdefault(key.strategy_id, []).append(charges)
        kept.append(
            rows.key_values(key)
            | {"day": day, "charges": charges_text(merged([earlier.get(key, Charges()), charges]))}
        )
        if not charges.total:
            continue
        revision += 1
        cause = ids.derived_id("contract note", *name, *by_name(key), day.isoformat(), revision)
        transaction = correction(key, cause, at, charges.total)
        tables["ledger_transactions"].append(rows.transaction_values(transaction, revision))
        entries = rows.entry_values(transaction, sequence)
        tables["ledger_entries"] += entries
        sequence += len(entries)
        paid += charges.total
        by_strategy[key.strategy_id] = by_strategy.get(key.strategy_id, ZERO) + charges.total
        position = rows.position_of((await connection.execute(_POSITION, rows.key_values(key))).one())
        after = rows.position_values(position) | {"charges": position.charges + charges.total}
        if position.charges + charges.total < 0:
            raise WouldBeNegative(f"{key.strategy_id} {key.instrument_id} {key.product.name}")
        tables["positions"].append(after)
    for strategy_id, of_strategy in lines.items():
        tables["charge_totals"] += [
            name._asdict()
            | {
                "strategy_id": strategy_id,
                "name": line.name,
                "sureness": int(line.sureness),
                "amount": line.amount,
            }
            for line in merged(of_strategy).lines
        ]
    tables["strategy_totals"] = [
        name._asdict() | {"strategy_id": strategy_id, "realised": ZERO, "charges": amount}
        for strategy_id, amount in by_strategy.items()
    ]
    tables["accounts"] = [
        name._asdict()
        | {
            "cash": account.cash - paid,
            "revision": revision,
            "entries": sequence - 1,
            "day_charges": paid,
            "changed_at": account.changed_at,
        }
    ]
    written = {table: given for table, given in tables.items() if given}
    await connection.execute(
        sql.SAVE(*written), {table: recordset(given) for table, given in written.items()}
    )
    await connection.execute(_KEEP, {"corrections": recordset(kept)})
