"""Converts values of risk to rows of the schema `risk` and back."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Row

from alphapanda.contract.wire import known, signal_event, signal_from
from alphapanda.domain.funds import AccountFunds
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import PositionEffect, Product, Side, TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Approved, Refused, RuleOutcome, RuleResult, Verdict
from alphapanda.risk.core.book import DayKey
from alphapanda.risk.core.day import DayCounters
from alphapanda.risk.core.named_limits import named_limit
from alphapanda.risk.core.position import OrderProgress, PositionState, TradeHistory
from alphapanda.risk.core.rejections import RejectionKey, Rejections
from alphapanda.risk.core.scoped_limits import LimitScope, SetLimit
from alphapanda.risk.store.port import KillSwitch, SwitchScope
from alphapanda.storage.order_terms import (
    NO_PROTECTION,
    NO_TERMS,
    protection_columns,
    protection_of,
    terms_columns,
    terms_of,
)
from panda.events.v1.events_pb2 import Event

Values = dict[str, object]
AnyRow = Row[Any] | SimpleNamespace
_LONGEST_TOKEN = 10
"""Digits of the longest instrument token, an unsigned number of 32 bits."""
"""A row of a query, or a composite row inside one."""


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
    """Reads a position key from a row."""
    return PositionKey(row.broker, row.account, row.strategy_id, row.instrument_id, Product(row.product))


def wanted(keys: Collection[PositionKey], signal_ids: Collection[str]) -> Values:
    """The query parameters for what a decision reads."""
    asked = list(dict.fromkeys(keys))
    return {
        "strategies": [key.strategy_id for key in asked],
        "instruments": [key.instrument_id for key in asked],
        "products": [int(key.product) for key in asked],
        "ids": list(signal_ids),
    }


def order_values(order: OrderProgress) -> Values:
    """The columns of a row of risk.orders."""
    return key_values(order.key) | {
        "signal_id": order.signal_id,
        "side": int(order.side),
        "quantity": order.quantity,
        "filled": order.filled,
        "revision": order.revision,
        "final": order.final,
        "value": order.value,
        "charges": order.charges,
        "rests": order.rests,
    }


def order_of(row: AnyRow) -> OrderProgress:
    """Reads an order from a row."""
    return OrderProgress(
        str(row.signal_id),
        key_of(row),
        Side(row.side),
        row.quantity,
        row.filled,
        row.revision,
        row.final,
        row.value,
        row.charges,
        row.rests,
    )


def position_values(state: PositionState) -> Values:
    """The columns of a row of risk.positions."""
    return key_values(state.key) | {
        "quantity": state.quantity,
        "opened_at": state.opened_at,
        "open_signal_id": state.open.signal_id if state.open else None,
        "waiting_signal_id": state.waiting.signal_id if state.waiting else None,
        "waiting": _waiting_bytes(state.waiting) if state.waiting else None,
        "cost": state.history.cost,
        "round_trip": state.history.round_trip,
        "losses": state.history.losses,
        "lost_at": state.history.lost_at,
        "last_request": state.history.last_request,
        "last_request_at": state.history.last_request_at,
        "margin": state.margin,
        "blocked": state.blocked,
    }


def position_of(row: AnyRow, open_order: OrderProgress | None) -> PositionState:
    """Reads a position from a row, with its open order."""
    waiting = waiting_of(row.waiting) if row.waiting is not None else None
    history = TradeHistory(
        row.cost, row.round_trip, row.losses, row.lost_at, row.last_request, row.last_request_at
    )
    return PositionState(
        key_of(row), row.quantity, row.opened_at, open_order, waiting, history, row.margin, row.blocked
    )


def funds_values(funds: AccountFunds | None) -> Values:
    """The parameters that store an account's funds; None: they aren't tracked."""
    if funds is None:
        return {"funds_cash": None, "funds_realised": ZERO, "funds_margin": ZERO, "funds_blocked": ZERO}
    return {
        "funds_cash": funds.starting_cash,
        "funds_realised": funds.realised,
        "funds_margin": funds.margin,
        "funds_blocked": funds.blocked,
    }


def funds_of(row: AnyRow, cash_of_new: Decimal | None) -> AccountFunds | None:
    """Reads an account's funds from its row; None at a live broker.

    Args:
        row: the account's row.
        cash_of_new: starting cash of an account that has none yet, in rupees; None at a live broker.
    """
    cash = cash_of_new if row.starting_cash is None else row.starting_cash
    return None if cash is None else AccountFunds(cash, row.realised, row.margin, row.blocked)


def day_values(whose: DayKey, counters: DayCounters) -> Values:
    """The columns of a row of risk.days."""
    broker, account, strategy_id = whose
    return {
        "broker": broker,
        "account": account,
        "strategy_id": strategy_id,
        "day": counters.day,
        "trades": counters.trades,
        "realised": counters.realised,
        "tripped": counters.tripped,
        "recent": list(counters.recent),
        "charges": counters.charges,
    }


def day_of(row: AnyRow) -> DayCounters:
    """Reads day counters from a row."""
    return DayCounters(row.day, row.trades, row.realised, row.tripped, tuple(row.recent), row.charges)


def rejections_values(whose: RejectionKey, rejections: Rejections) -> Values:
    """The columns of a row of risk.rejections."""
    broker, account, instrument_id, product = whose
    return {
        "broker": broker,
        "account": account,
        "instrument_id": instrument_id,
        "product": int(product),
        "day": rejections.day,
        "in_a_row": rejections.count,
        "message": rejections.message,
    }


def rejections_of(row: AnyRow) -> tuple[RejectionKey, Rejections]:
    """Reads rejections in a row from a row."""
    whose = (row.broker, row.account, row.instrument_id, Product(row.product))
    return whose, Rejections(row.day, row.in_a_row, row.message)


def limit_of(row: AnyRow) -> SetLimit:
    """Reads a limit that was set from a row."""
    scope = LimitScope(row.strategy_id, row.instrument_id)
    return SetLimit(
        scope, named_limit(row.name, "limits"), row.value, row.version, row.author, row.changed_at
    )


def waiting_of(stored: bytes) -> Signal:
    """Parses a stored waiting target."""
    return signal_from(Event.FromString(stored))


def _waiting_bytes(signal: Signal) -> bytes:
    return signal_event(signal, "risk", signal.market_time).SerializeToString(deterministic=True)


def verdict_values(verdict: Verdict) -> Values:
    """The columns of a row of risk.verdicts."""
    common = key_values(verdict.key) | {
        "signal_id": verdict.signal_id,
        "correlation_id": verdict.correlation_id,
        "instrument_token": verdict.instrument_token,
        "config_revision": verdict.config_revision,
        "decided_at": verdict.decided_at,
        "rules": [[r.rule, int(r.outcome or 0), r.limit, r.observed, r.message] for r in verdict.rules],
    }
    if isinstance(verdict, Approved):
        return common | {
            "approved": True,
            "reason": "",
            "message": "",
            "side": int(verdict.side),
            "quantity": verdict.quantity,
            **terms_columns(verdict.terms),
            **protection_columns(verdict.protection),
            "effect": int(verdict.effect),
            "valid_until": verdict.valid_until,
            "largest_quantity": 0,
        }
    return common | {
        "approved": False,
        "reason": verdict.reason,
        "message": verdict.message,
        "side": None,
        "quantity": None,
        **NO_TERMS,
        **NO_PROTECTION,
        "effect": None,
        "valid_until": None,
        "largest_quantity": verdict.largest_quantity,
    }


def verdict_of(row: AnyRow) -> Verdict:
    """Reads a verdict from a row."""
    rules = tuple(
        RuleResult(rule, known(RuleOutcome, outcome), limit, observed, message)
        for rule, outcome, limit, observed, message in row.rules
    )
    if row.approved:
        return Approved(
            str(row.signal_id),
            row.correlation_id,
            key_of(row),
            row.instrument_token,
            row.config_revision,
            Side(row.side),
            row.quantity,
            terms_of(row),
            PositionEffect(row.effect),
            row.valid_until,
            row.decided_at,
            rules,
            protection_of(row),
        )
    return Refused(
        str(row.signal_id),
        row.correlation_id,
        key_of(row),
        row.instrument_token,
        row.config_revision,
        row.reason,
        row.message,
        row.decided_at,
        rules,
        row.largest_quantity,
    )


def switch_values(switch: KillSwitch) -> Values:
    """The columns of a row of risk.kill_switches."""
    return switch.scope._asdict() | {
        "state": int(switch.state),
        "revision": switch.revision,
        "changed_by": switch.changed_by,
        "reason": switch.reason,
        "changed_at": switch.changed_at,
    }


def switch_of(row: AnyRow) -> KillSwitch:
    """Reads a kill switch from a row."""
    return KillSwitch(
        SwitchScope(row.broker, row.strategy_id, row.account),
        TradingState(row.state),
        row.revision,
        row.changed_by,
        row.reason,
        row.changed_at,
    )


def unknown_positions(parked: Iterable[bytes]) -> frozenset[tuple[str, int]]:
    """The positions of parked records, from their keys "{strategy_id}:{instrument_token}" (the contract's key option).

    A key of another form names no position, so it is left out: it must not fail every decision of its broker.
    """
    halves = (key.decode(errors="replace").rpartition(":") for key in parked)
    return frozenset(
        (strategy_id, int(token))
        for strategy_id, _, token in halves
        if token.isascii() and token.isdecimal() and len(token) <= _LONGEST_TOKEN
    )
