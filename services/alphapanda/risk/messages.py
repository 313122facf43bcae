"""Converts risk's values to the messages of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from alphapanda.contract.wire import decimal, money, rule_results, timestamp
from alphapanda.domain.money import ZERO
from alphapanda.domain.signal import Signal
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs
from alphapanda.risk.core.day import WHOLE_ACCOUNT, DayCounters
from alphapanda.risk.core.exposure import InstrumentExposure, ValueUnknown, by_instrument, unrealised
from alphapanda.risk.core.limits import FREEZE_SLICES, Limits
from alphapanda.risk.core.named_limits import NAMED_LIMITS, RULE_OF
from alphapanda.risk.core.position import PositionState
from alphapanda.risk.core.rules import instrument, market_hours, price
from alphapanda.risk.core.scoped_limits import LimitScope, ScopedLimits, SetLimit
from panda.common.v1 import common_pb2 as common
from panda.risk.v1 import risk_pb2 as risk


def verdict_message(verdict: Verdict) -> risk.Verdict:
    """The message of a verdict."""
    message = risk.Verdict(
        signal_id=verdict.signal_id,
        correlation_id=verdict.correlation_id,
        broker=verdict.key.broker,
        account=verdict.key.account,
        strategy_id=verdict.key.strategy_id,
        instrument_id=verdict.key.instrument_id,
        instrument_token=verdict.instrument_token,
        rules=rule_results(verdict.rules),
        decided_at=timestamp(verdict.decided_at),
    )
    if isinstance(verdict, Approved):
        message.approved = True
        message.side = common.Side.ValueType(verdict.side)
        message.quantity = verdict.quantity
        message.position_effect = common.PositionEffect.ValueType(verdict.effect)
    else:
        message.reason = verdict.reason
        message.message = verdict.message
        message.largest_quantity = verdict.largest_quantity
    return message


def waiting_message(signal: Signal) -> risk.Verdict:
    """The message of a signal that waits for an open order and has no verdict yet."""
    return risk.Verdict(
        signal_id=signal.signal_id,
        correlation_id=signal.correlation_id,
        broker=signal.key.broker,
        account=signal.key.account,
        strategy_id=signal.key.strategy_id,
        instrument_id=signal.key.instrument_id,
        instrument_token=signal.instrument_token,
        waiting=True,
        message="it waits for the open order under its position",
    )


def limit_messages(
    defaults: Limits, scoped: ScopedLimits, strategy_id: str, instrument_id: str
) -> Iterator[risk.Limit]:
    """Every limit with the value in force for a strategy and an instrument (empty: none in particular)."""
    yield risk.Limit(
        rule=instrument.NAME,
        name="freeze_slices",
        value=str(FREEZE_SLICES),
        unit="freeze quantities",
        origin=risk.LIMIT_ORIGIN_FIXED,
    )
    settings = risk.LIMIT_ORIGIN_SETTINGS
    for rule, name, value, unit in (
        (price.NAME, "price_max_age", f"{defaults.price_max_age.total_seconds():g}", "seconds"),
        (market_hours.NAME, "mis_cut_off", f"{defaults.mis_cut_off:%H:%M}", "time in IST"),
    ):
        yield risk.Limit(rule=rule, name=name, value=value, unit=unit, origin=settings)
    limits = scoped.over(defaults, strategy_id, instrument_id)
    for limit in NAMED_LIMITS.values():
        found = scoped.in_force(limit.name, strategy_id, instrument_id)
        if found is not None:
            yield set_limit_message(found)
        else:
            yield risk.Limit(
                rule=RULE_OF[limit.name],
                name=limit.name,
                value=limit.text(limits.of(limit)),
                unit=limit.unit.value,
                origin=settings,
                settable=True,
            )


def set_limit_message(row: SetLimit) -> risk.Limit:
    """The message of a limit that was set."""
    return risk.Limit(
        rule=RULE_OF[row.name],
        name=row.name,
        value=row.text,
        unit=row.limit.unit.value,
        origin=_origin(row.scope),
        strategy_id=row.scope.strategy_id,
        instrument_id=row.scope.instrument_id,
        version=row.version,
        author=row.author,
        changed_at=timestamp(row.changed_at),
        settable=True,
    )


def exposure_message(broker: str, account: str, book: RiskBook, inputs: Inputs) -> risk.GetExposureResponse:
    """The message of an account's exposure, its open orders and its day counters."""
    states = list(book.active_positions(broker, account))
    lines = by_instrument(states, inputs.price_of)
    now = inputs.market.market_time
    message = risk.GetExposureResponse(
        broker=broker,
        account=account,
        instruments=[_line(line) for line in lines],
        gross=money(_sum([line.gross for line in lines])),
        net=money(_sum([line.net for line in lines])),
        open_orders=sum(1 for state in states if state.open is not None),
        unrealised=money(_unrealised(states, inputs)),
        market_time=timestamp(now),
    )
    if now is not None:
        today = _today(book, broker, account, inputs.calendar.trading_day(now))
        message.MergeFrom(
            risk.GetExposureResponse(
                day=str(today.day),
                realised=money(today.realised),
                charges=money(today.charges),
                trades=today.trades,
                tripped=today.tripped,
            )
        )
    funds = book.funds.get((broker, account))
    if funds is not None and inputs.funds is not None:
        message.funds.CopyFrom(
            risk.Funds(
                balance=money(funds.balance),
                used_margin=money(funds.margin),
                blocked=money(funds.blocked),
                available=money(funds.available),
            )
        )
    return message


def _today(book: RiskBook, broker: str, account: str, day: date) -> DayCounters:
    kept = book.days.get((broker, account, WHOLE_ACCOUNT))
    return kept if kept is not None and kept.day >= day else DayCounters(day)


def _unrealised(states: list[PositionState], inputs: Inputs) -> Decimal | None:
    try:
        return unrealised(states, inputs.price_of)
    except ValueUnknown:
        return None


def _line(line: InstrumentExposure) -> risk.InstrumentExposure:
    return risk.InstrumentExposure(
        instrument_id=line.instrument_id,
        held=line.held,
        in_flight=line.in_flight,
        most=line.most,
        last_price=decimal(line.price),
        gross=money(line.gross),
        net=money(line.net),
    )


def _sum(amounts: list[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, ZERO) if len(known) == len(amounts) else None


def _origin(scope: LimitScope) -> risk.LimitOrigin.ValueType:
    match bool(scope.strategy_id), bool(scope.instrument_id):
        case True, True:
            return risk.LIMIT_ORIGIN_STRATEGY_IN_INSTRUMENT
        case True, False:
            return risk.LIMIT_ORIGIN_STRATEGY
        case False, True:
            return risk.LIMIT_ORIGIN_INSTRUMENT
        case _:
            return risk.LIMIT_ORIGIN_ACCOUNT
