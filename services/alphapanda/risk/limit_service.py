"""Changes an account's limits, in one transaction under the account's lock."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

import structlog

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import TradingState
from alphapanda.mesh.errors import FailedPrecondition
from alphapanda.mesh.recording import record_change
from alphapanda.risk.core.day import WHOLE_ACCOUNT
from alphapanda.risk.core.limit import OFF
from alphapanda.risk.core.limit_changes import LimitChange, changed
from alphapanda.risk.core.rules.arming import REQUIRED
from alphapanda.risk.core.scoped_limits import LimitScope, ScopedLimits
from alphapanda.risk.messages import set_limit_message
from alphapanda.risk.store.port import DecisionUnit, RiskStore
from alphapanda.risk.switch_events import account_switch_event, next_switch
from alphapanda.storage.requests import CommandKey
from panda.risk.v1 import risk_pb2 as risk

_log = structlog.get_logger(__name__)


class LimitService:
    """Implements UpdateLimits.

    Args:
        store: risk's store.
        wall_time: returns the current wall time, aware.
        live: brokers whose orders reach a real exchange; required limits of their accounts can't be lifted.
    """

    def __init__(
        self, store: RiskStore, wall_time: Callable[[], datetime], live: Collection[str] = ()
    ) -> None:
        self._store = store
        self._live = frozenset(live)
        self._wall_time = wall_time

    async def update(self, caller: str, request: risk.UpdateLimitsRequest) -> risk.UpdateLimitsResponse:
        """Sets and clears limits. A repeated request changes nothing and gets the same answer.

        Raises:
            InvalidInput: a name, value or scope is not allowed.
            FailedPrecondition: the limits have changed since the version that the caller expected.
            RequestReused: the request_id came with another body.
        """
        key = CommandKey(caller, "UpdateLimits", request.request_id)
        if request.broker in self._live:
            _require_limits(request)
        change = LimitChange(
            LimitScope(request.strategy_id, request.instrument_id),
            _values(request),
            tuple(dict.fromkeys(request.clear)),
            caller,
            request.reason,
            self._wall_time(),
        )
        async with self._store.unit(request.broker, request.account) as unit:
            given = await unit.claim(key, request)
            if given is not None:
                return risk.UpdateLimitsResponse.FromString(given)
            current = unit.limits
            if request.expected_version != current.version:
                raise FailedPrecondition(
                    "LIMITS_CHANGED",
                    f"expected_version: the limits are at version {current.version},"
                    f" not {request.expected_version}; read them again",
                    version=str(current.version),
                )
            after = changed(current, change)
            record_change(_set_here(current, change), _set_here(after, change))
            await unit.save_limits(change)
            if not request.strategy_id and "max_daily_loss" in {*change.to_set, *change.to_clear}:
                await self._clear_trip(unit, request, caller)
            answer = risk.UpdateLimitsResponse(
                version=after.version,
                set=[set_limit_message(row) for row in after.rows if row.scope == change.scope],
            )
            await unit.remember(key, answer)
        _log.info(
            "limits.set",
            broker=request.broker,
            account=request.account,
            scope=change.scope.text,
            set=dict(change.to_set),
            clear=list(change.to_clear),
            version=after.version,
            author=caller,
            message=request.reason,
        )
        return answer

    async def _clear_trip(self, unit: DecisionUnit, request: risk.UpdateLimitsRequest, caller: str) -> None:
        """Lets a tripped account trade again after its daily loss limit was changed; it trips again if still over the limit."""
        book = await unit.book((), ())
        whose = (request.broker, request.account, WHOLE_ACCOUNT)
        today = book.days.get(whose)
        if today is None or not today.tripped:
            return
        book.days[whose] = today.with_trip("")
        await unit.save(book, (), ())
        why = f"the limit of the day's loss was changed: {request.reason}"
        switch = next_switch(
            await unit.account_switch(), TradingState.ACTIVE, why, self._wall_time(), by=caller
        )
        await unit.save_account_switch(switch, account_switch_event(switch))


def _require_limits(request: risk.UpdateLimitsRequest) -> None:
    """Requires that no limit is lifted without which a live account takes no entries.

    Raises:
        InvalidInput: one is.
    """
    for one in request.set:
        if one.value == OFF and any(one.name == required.name for required in REQUIRED):
            raise InvalidInput(
                f"set.{one.name}", OFF, f"a value: accounts at {request.broker!r} are never without it"
            )


def _values(request: risk.UpdateLimitsRequest) -> dict[str, str]:
    values: dict[str, str] = {}
    for one in request.set:
        if one.name in values:
            raise InvalidInput("set", one.name, "a limit is named once")
        values[one.name] = one.value
    return values


def _set_here(limits: ScopedLimits, change: LimitChange) -> dict[str, str]:
    """What is set at a change's scope of the limits that it names, as the audit shows it."""
    named = {*change.to_set, *change.to_clear}
    return {row.name: row.text for row in limits.rows if row.scope == change.scope and row.name in named}
