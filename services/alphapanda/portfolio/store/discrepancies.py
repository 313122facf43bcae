"""Discrepancies, what is held outside, and the broker's money in PostgreSQL, schema `portfolio`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from google.protobuf.message import Message
from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.domain.order import Product
from alphapanda.portfolio.core.discrepancies import Discrepancy, Progress
from alphapanda.portfolio.core.discrepancy import Difference, Kind, Resolution, Severity, State, Unit
from alphapanda.portfolio.core.reconciled_books import BrokerBooks, BrokerMoney
from alphapanda.portfolio.store.port import AccountName
from alphapanda.portfolio.store.statements import SCHEMA
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.recordset import recordset, rows_of
from alphapanda.storage.requests import CommandKey, RequestMemory

_ACCOUNT: Final = "broker = :broker AND account = :account"
_COLUMNS: Final = (
    "discrepancy_id, broker, account, kind, severity, state, instrument_id, product, subject, ours, theirs, cause, moves, found_at,"
    " seen_at, seen, resolution, resolved_at, resolved_by, reason"
)
_LOCK = text(
    "INSERT INTO portfolio.reconciled (broker, account, revision) VALUES (:broker, :account, 1)"
    " ON CONFLICT (broker, account) DO UPDATE SET revision = reconciled.revision + 1 RETURNING revision"
)
_ALIVE = text(f"SELECT * FROM portfolio.discrepancies WHERE {_ACCOUNT} AND state < 3 ORDER BY number")
_ONE = text("SELECT * FROM portfolio.discrepancies WHERE discrepancy_id = :discrepancy_id")
_SAVE = text(
    f"INSERT INTO portfolio.discrepancies ({_COLUMNS})"
    f" SELECT {_COLUMNS} FROM {rows_of('portfolio.discrepancies', 'discrepancies')}"
    " ON CONFLICT (discrepancy_id) DO UPDATE SET severity = excluded.severity, state = excluded.state, ours = excluded.ours,"
    " theirs = excluded.theirs, cause = excluded.cause, moves = excluded.moves, seen_at = excluded.seen_at,"
    " seen = excluded.seen, resolution = excluded.resolution, resolved_at = excluded.resolved_at,"
    " resolved_by = excluded.resolved_by, reason = excluded.reason"
)
_FORGET = text(
    "DELETE FROM portfolio.discrepancies WHERE discrepancy_id = ANY(CAST(:forgotten AS uuid[])) AND state = 1"
)
_OUTSIDE = text(f"SELECT instrument_id, product, quantity FROM portfolio.outside_units WHERE {_ACCOUNT}")
_ADD_OUTSIDE = text(
    "INSERT INTO portfolio.outside_units (broker, account, instrument_id, product, quantity)"
    " SELECT :broker, :account, instrument_id, product, sum(quantity) FROM unnest(CAST(:instruments AS text[]),"
    " CAST(:products AS smallint[]), CAST(:quantities AS bigint[])) AS given (instrument_id, product, quantity)"
    " GROUP BY instrument_id, product"
    " ON CONFLICT (broker, account, instrument_id, product) DO UPDATE SET quantity = outside_units.quantity + excluded.quantity"
)
_ISINS = text("SELECT instrument_id, isin FROM portfolio.isins")
_ADD_ISINS = text(
    "INSERT INTO portfolio.isins (instrument_id, isin) SELECT * FROM unnest(CAST(:instruments AS text[]),"
    " CAST(:isins AS text[])) ON CONFLICT (instrument_id) DO UPDATE SET isin = excluded.isin WHERE isins.isin <> excluded.isin"
)
_RECONCILED = text(
    "UPDATE portfolio.reconciled SET reconciled_at = :at, compared = :compared, opening = :opening, cash = :cash,"
    f" available = :available, used = :used, collateral = :collateral WHERE {_ACCOUNT}"
)
_MONEY = text(
    "SELECT reconciled_at, opening, cash, available, used, collateral FROM portfolio.reconciled"
    f" WHERE {_ACCOUNT} AND available IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Outside:
    """What is known of an account beside our books.

    Attributes:
        units: what is held outside, by instrument and product.
        isins: of shares, by instrument.
    """

    units: Mapping[Unit, int]
    isins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MoneyRead:
    """The broker's money, and the aware wall time at which it was read."""

    money: BrokerMoney
    read_at: datetime


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a stored comparison has changed.

    Attributes:
        revision: number of this change among those of the account.
        progress: what became of discrepancies.
    """

    revision: int
    progress: Progress


class DiscrepancyStore:
    """Keeps discrepancies; every change of an account's is one transaction under the account's lock.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._single = without_transactions(engine)
        self._requests = RequestMemory(SCHEMA)

    async def outside(self, name: AccountName) -> Outside:
        """What is held outside, and the ISINs that were ever told."""
        async with self._single.connect() as connection:
            units = {
                Unit(row.instrument_id, Product(row.product)): row.quantity
                for row in await connection.execute(_OUTSIDE, name._asdict())
            }
            isins = {row.instrument_id: row.isin for row in await connection.execute(_ISINS)}
        return Outside(units, isins)

    async def record(
        self,
        name: AccountName,
        theirs: BrokerBooks,
        now: datetime,
        progressed: Callable[[Sequence[Discrepancy]], Progress],
    ) -> Recorded:
        """Stores a comparison.

        Args:
            name: the account.
            theirs: the broker's books that were compared.
            now: aware wall time.
            progressed: given the alive discrepancies, returns what becomes of them.
        """
        async with self._engine.begin() as connection:
            revision = (await connection.execute(_LOCK, name._asdict())).scalar_one()
            alive = [_discrepancy(row) for row in await connection.execute(_ALIVE, name._asdict())]
            progress = progressed(alive)
            await _save(connection, [*progress.alive, *progress.agreed, *progress.remembered])
            if progress.forgotten:
                await connection.execute(_FORGET, {"forgotten": progress.forgotten})
            moves = [move for one in progress.remembered for move in one.difference.moves]
            await _move_outside(connection, name, moves)
            told = {one.instrument_id: one.isin for one in theirs.units if one.isin}
            if told:
                values = {"instruments": list(told), "isins": list(told.values())}
                await connection.execute(_ADD_ISINS, values)
            await connection.execute(_RECONCILED, name._asdict() | _money_values(theirs, now))
        return Recorded(revision, progress)

    async def resolve(
        self,
        key: CommandKey,
        request: Message,
        discrepancy_id: str,
        change: Callable[[Discrepancy], tuple[Discrepancy, tuple[tuple[Unit, int], ...]]],
        answer: Callable[[Discrepancy], Message],
    ) -> tuple[bytes, AccountName | None]:
        """Resolves a discrepancy by a command, once.

        Args:
            key: the command.
            request: its body.
            discrepancy_id: which one.
            change: given it, returns it as resolved, and the units that count as held outside; may refuse.
            answer: makes the answer.

        Returns:
            The answer, and the account; None where the command was given before.

        Raises:
            LookupError: there is none.
            RequestReused: the request_id came with another body.
        """
        async with self._engine.begin() as connection:
            given = await self._requests.claim(connection, key, request)
            if given is not None:
                return given, None
            row = (await connection.execute(_ONE, {"discrepancy_id": discrepancy_id})).one_or_none()
            if row is None:
                raise LookupError(discrepancy_id)
            name = AccountName(row.broker, row.account)
            await connection.execute(_LOCK, name._asdict())
            row = (await connection.execute(_ONE, {"discrepancy_id": discrepancy_id})).one_or_none()
            if row is None:  # it was only suspected, and is gone
                raise LookupError(discrepancy_id)
            after, moves = change(_discrepancy(row))
            await _save(connection, [after])
            await _move_outside(connection, name, moves)
            message = answer(after)
            await self._requests.remember(connection, key, message)
        return message.SerializeToString(deterministic=True), name

    async def find(self, discrepancy_id: str) -> Discrepancy | None:
        """A discrepancy; None where there is none."""
        async with self._single.connect() as connection:
            row = (await connection.execute(_ONE, {"discrepancy_id": discrepancy_id})).one_or_none()
        return None if row is None else _discrepancy(row)

    async def claim(self, key: CommandKey, request: Message) -> None:
        """Remembers a command whose effect may happen again, so that its request_id has one body.

        Raises:
            RequestReused: the request_id came with another body.
        """
        async with self._engine.begin() as connection:
            await self._requests.claim(connection, key, request)

    async def alive(self, name: AccountName) -> tuple[int, Sequence[Discrepancy]]:
        """The account's newest revision, raised, and its SUSPECTED and OPEN discrepancies, oldest first."""
        async with self._engine.begin() as connection:
            revision = (await connection.execute(_LOCK, name._asdict())).scalar_one()
            rows = await connection.execute(_ALIVE, name._asdict())
            return revision, [_discrepancy(row) for row in rows]

    async def listed(
        self, broker: str, account: str, *, include_resolved: bool, before: int | None, limit: int
    ) -> Sequence[tuple[int, Discrepancy]]:
        """At most `limit` discrepancies with a number below `before`, newest first; an empty filter means all."""
        statement, values = page_of(broker, account, before, limit, include_resolved=include_resolved)
        async with self._single.connect() as connection:
            return [(row.number, _discrepancy(row)) for row in await connection.execute(statement, values)]

    async def money(self, name: AccountName) -> MoneyRead | None:
        """The broker's money as it was read last; None where it never was."""
        async with self._single.connect() as connection:
            row = (await connection.execute(_MONEY, name._asdict())).one_or_none()
        if row is None:
            return None
        money = BrokerMoney(row.opening, row.cash, row.opening * 0, row.available, row.used, row.collateral)
        return MoneyRead(money, row.reconciled_at)


def page_of(
    broker: str, account: str, before: int | None, limit: int, *, include_resolved: bool
) -> tuple[TextClause, dict[str, object]]:
    """The statement of a page of discrepancies, with its parameters; it has the conditions alone that are asked for."""
    given = {"broker": broker, "account": account, "before": before}
    comparisons = {
        "broker": "broker = :broker",
        "account": "account = :account",
        "before": "number < :before",
    }
    values: dict[str, object] = {name: value for name, value in given.items() if value}
    conditions = [comparisons[name] for name in values]
    if not include_resolved:
        conditions.append("state < 3")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = text(f"SELECT * FROM portfolio.discrepancies{where} ORDER BY number DESC LIMIT :limit")
    return statement, values | {"limit": limit}


async def _save(connection: AsyncConnection, discrepancies: Iterable[Discrepancy]) -> None:
    rows = [_values(one) for one in discrepancies]
    if rows:
        await connection.execute(_SAVE, {"discrepancies": recordset(rows)})


async def _move_outside(
    connection: AsyncConnection, name: AccountName, moves: Sequence[tuple[Unit, int]]
) -> None:
    if moves:
        values = {
            "instruments": [unit.instrument_id for unit, _ in moves],
            "products": [int(unit.product) for unit, _ in moves],
            "quantities": [units for _, units in moves],
        }
        await connection.execute(_ADD_OUTSIDE, name._asdict() | values)


def _money_values(theirs: BrokerBooks, now: datetime) -> dict[str, object]:
    money = theirs.money
    return {
        "at": now,
        "compared": theirs.size,
        "opening": money and money.opening,
        "cash": money and money.cash,
        "available": money and money.available,
        "used": money and money.used,
        "collateral": money and money.collateral,
    }


def _values(one: Discrepancy) -> dict[str, object]:
    difference = one.difference
    moves = [[unit.instrument_id, int(unit.product), units] for unit, units in difference.moves]
    return {
        "discrepancy_id": one.discrepancy_id,
        "broker": one.broker,
        "account": one.account,
        "kind": int(difference.kind),
        "severity": int(difference.severity),
        "state": int(one.state),
        "instrument_id": difference.instrument_id,
        "product": int(difference.product or 0),
        "subject": difference.subject,
        "ours": difference.ours,
        "theirs": difference.theirs,
        "cause": difference.cause,
        "moves": json.dumps(moves, separators=(",", ":")),
        "found_at": one.found_at,
        "seen_at": one.seen_at,
        "seen": one.seen,
        "resolution": int(one.resolution),
        "resolved_at": one.resolved_at,
        "resolved_by": one.resolved_by,
        "reason": one.reason,
    }


def _discrepancy(row: Row[Any]) -> Discrepancy:
    moves = tuple(
        (Unit(instrument_id, Product(product)), units)
        for instrument_id, product, units in json.loads(row.moves)
    )
    difference = Difference(
        Kind(row.kind),
        Severity(row.severity),
        row.instrument_id,
        Product(row.product) if row.product else None,
        row.subject,
        row.ours,
        row.theirs,
        row.cause,
        moves,
    )
    return Discrepancy(
        str(row.discrepancy_id),
        row.broker,
        row.account,
        difference,
        State(row.state),
        row.found_at,
        row.seen_at,
        row.seen,
        Resolution(row.resolution),
        row.resolved_at,
        row.resolved_by,
        row.reason,
    )
