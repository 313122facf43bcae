"""Converts rows of the schema `portfolio` to values and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Row

from alphapanda.domain.charge_days import ChargeDay, to_text
from alphapanda.domain.charge_rates import Sureness
from alphapanda.domain.charges import (
    NO_CHARGES,
    ChargeLine,
    Charges,
    charges_from_text,
    charges_of,
    charges_text,
    merged,
)
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.adjusting import Adjusted
from alphapanda.portfolio.core.book import Booking, PortfolioBook
from alphapanda.portfolio.core.ledger import LedgerAccount, LedgerTransaction
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.profit import StrategyTotals
from alphapanda.portfolio.core.snapshots import Snapshot, SnapshotCause
from alphapanda.portfolio.store.port import AccountName, BookedFill, LedgerLine, fill_row, ledger_rows

Values = dict[str, object]
AnyRow = Row[Any] | SimpleNamespace
"""A row of a query, or a whole row returned as a column."""


def key_values(key: PositionKey) -> Values:
    """The columns of a position key."""
    return {
        "broker": key.broker,
        "account": key.account,
        "strategy_id": key.strategy_id,
        "instrument_id": key.instrument_id,
        "product": int(key.product),
    }


def key_of(row: AnyRow) -> PositionKey:
    """The position key of a row."""
    return PositionKey(row.broker, row.account, row.strategy_id, row.instrument_id, Product(row.product))


def account_values(name: AccountName, book: PortfolioBook) -> Values:
    """The columns of portfolio.accounts that fills change."""
    return name._asdict() | {"cash": book.cash, "revision": book.revision, "entries": book.entries}


def charge_day_values(key: PositionKey, day: ChargeDay) -> Values:
    """A row of portfolio.charge_days."""
    return key_values(key) | {"sums": to_text(day)}


def dp_payer_values(name: AccountName, instrument_id: str, day: int, strategy_id: str) -> Values:
    """A row of portfolio.dp_payers."""
    return name._asdict() | {"instrument_id": instrument_id, "day": day, "strategy_id": strategy_id}


def charge_totals_values(bookings: Sequence[Booking]) -> list[Values]:
    """Rows of portfolio.charge_totals: what bookings add to each strategy's charges."""
    added: dict[tuple[str, str, str], list[Charges]] = {}
    for booking in bookings:
        key = booking.position.key
        if booking.charges:
            added.setdefault((key.broker, key.account, key.strategy_id), []).append(booking.charges)
    return [
        {
            "broker": broker,
            "account": account,
            "strategy_id": strategy_id,
            "name": line.name,
            "sureness": int(line.sureness),
            "amount": line.amount,
        }
        for (broker, account, strategy_id), charges in added.items()
        for line in merged(charges).lines
    ]


def charges_by_strategy(rows: Iterable[AnyRow]) -> dict[str, Charges]:
    """The charges by line of rows of portfolio.charge_totals, by strategy."""
    lines: dict[str, list[ChargeLine]] = {}
    for row in rows:
        line = ChargeLine(row.name, row.amount, Sureness(row.sureness))
        lines.setdefault(row.strategy_id, []).append(line)
    return {strategy_id: charges_of(of_strategy) for strategy_id, of_strategy in lines.items()}


def position_values(position: Position) -> Values:
    """A row of portfolio.positions."""
    return key_values(position.key) | {
        "quantity": position.quantity,
        "cost": position.cost,
        "realised": position.realised,
        "charges": position.charges,
        "changed_at": position.changed_at,
    }


def position_of(row: AnyRow) -> Position:
    """The position of a row."""
    return Position(key_of(row), row.quantity, row.cost, row.realised, row.charges, row.changed_at)


def totals_of(row: AnyRow, lines: Mapping[str, Charges] | None = None) -> StrategyTotals:
    """The strategy totals of a row, with the strategy's charges by line."""
    found = (lines or {}).get(row.strategy_id, NO_CHARGES)
    return StrategyTotals(row.strategy_id, row.realised, row.charges, found)


def totals_values(bookings: Sequence[Booking], adjusted: Sequence[Adjusted] = ()) -> list[Values]:
    """Rows of portfolio.strategy_totals: the amounts that bookings add to each strategy's totals."""
    changes = [(booking.position.key, booking.realised, booking.paid) for booking in bookings]
    changes += [
        (change.position.key, change.realised, ZERO)
        for one in adjusted
        for change in one.changes
        if change.realised
    ]
    added: dict[tuple[str, str, str], Values] = {}
    for key, realised, charges in changes:
        name = key.broker, key.account, key.strategy_id
        row = added.setdefault(
            name,
            {"broker": name[0], "account": name[1], "strategy_id": name[2], "realised": 0, "charges": 0},
        )
        row |= {"realised": row["realised"] + realised, "charges": row["charges"] + charges}  # type: ignore[operator]
    return list(added.values())


def fill_values(booking: Booking, correlation_id: str) -> Values:
    """A row of portfolio.fills."""
    fill = fill_row(booking, correlation_id)
    return key_values(fill.key) | {
        "fill_id": fill.fill_id,
        "order_id": fill.order_id,
        "side": int(fill.side),
        "quantity": fill.quantity,
        "price": fill.price,
        "commission": fill.commission,
        "realised": fill.realised,
        "traded_at": fill.traded_at,
        "correlation_id": fill.correlation_id,
        "revision": fill.revision,
        "day_charges": booking.day_charges,
        "charges": charges_text(booking.charges),
    }


def adjustment_values(adjusted: Adjusted, correlation_id: str) -> Values:
    """A row of portfolio.adjustments."""
    filled = adjusted.filled
    fill, key = filled.fill, filled.order.key
    adjustment = fill.adjustment
    other = adjustment.other if adjustment else None
    return key_values(key) | {
        "adjustment_id": fill.fill_id,
        "order_id": filled.order.order_id,
        "kind": int(adjustment.kind) if adjustment else 0,
        "other_strategy_id": other.strategy_id if other else "",
        "other_product": int(other.product) if other else 0,
        "units": filled.order.side.sign * fill.quantity,
        "cost": adjusted.changes[0].removed,
        "adjusted_at": fill.traded_at,
        "correlation_id": correlation_id,
        "revision": adjusted.revision,
    }


def fill_of(row: AnyRow) -> BookedFill:
    """The booked fill of a row."""
    return BookedFill(
        fill_id=str(row.fill_id),
        order_id=str(row.order_id),
        key=key_of(row),
        side=Side(row.side),
        quantity=row.quantity,
        price=row.price,
        commission=row.commission,
        realised=row.realised,
        traded_at=row.traded_at,
        correlation_id=row.correlation_id,
        revision=row.revision,
        paid=row.commission + row.day_charges,
        charges=charges_from_text(row.charges),
    )


def transaction_values(transaction: LedgerTransaction, revision: int) -> Values:
    """A row of portfolio.ledger_transactions; `revision` is the account's after it."""
    return {
        "transaction_id": transaction.transaction_id,
        "broker": transaction.broker,
        "account": transaction.account,
        "fill_id": transaction.cause_id if transaction.key and transaction.is_fill else None,
        "revision": revision,
        "market_time": transaction.market_time,
    }


def entry_values(transaction: LedgerTransaction, first_sequence: int) -> list[Values]:
    """Rows of portfolio.ledger_entries; the first is number `first_sequence` of its account."""
    return [
        {
            "entry_id": line.entry_id,
            "transaction_id": line.transaction_id,
            "broker": line.name.broker,
            "account": line.name.account,
            "strategy_id": line.strategy_id,
            "instrument_id": line.instrument_id,
            "product": int(line.product or 0),
            "sequence": line.sequence,
            "ledger_account": int(line.ledger_account),
            "amount": line.amount,
        }
        for line in ledger_rows(transaction, first_sequence)
    ]


def line_of(row: AnyRow) -> LedgerLine:
    """The ledger line of a row that comes with its transaction's fill_id, market_time and booked_at."""
    return LedgerLine(
        entry_id=str(row.entry_id),
        transaction_id=str(row.transaction_id),
        sequence=row.sequence,
        name=AccountName(row.broker, row.account),
        strategy_id=row.strategy_id,
        instrument_id=row.instrument_id,
        product=Product(row.product) if row.product else None,
        ledger_account=LedgerAccount(row.ledger_account),
        amount=row.amount,
        fill_id=str(row.fill_id) if row.fill_id else "",
        market_time=row.market_time,
        charges=charges_from_text(row.charges or ""),
        booked_at=row.booked_at,
    )


def snapshot_of(row: AnyRow) -> Snapshot:
    """The snapshot of a row."""
    return Snapshot(
        snapshot_id=str(row.snapshot_id),
        broker=row.broker,
        account=row.account,
        cause=SnapshotCause(row.cause),
        market_time=row.market_time,
        trading_day=row.trading_day,
        revision=row.revision,
        cash=row.cash,
        equity=row.equity,
        realised=row.realised,
        unrealised=row.unrealised,
        charges=row.charges,
        open_positions=row.open_positions,
    )
