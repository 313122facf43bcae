"""Converts kill switches to events and to messages of the contract."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alphapanda.contract.wire import envelope, timestamp
from alphapanda.domain import ids
from alphapanda.domain.order import TradingState
from alphapanda.risk.store.port import KillSwitch
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import control_pb2
from panda.events.v1.events_pb2 import Event
from panda.risk.v1 import risk_pb2 as risk

SOURCE = "risk"


def next_switch(
    current: KillSwitch, state: TradingState, reason: str, now: datetime, by: str = SOURCE
) -> KillSwitch:
    """Makes the next revision of a switch; `now` is wall time."""
    return replace(
        current, state=state, revision=current.revision + 1, changed_by=by, reason=reason, changed_at=now
    )


def account_switch_event(switch: KillSwitch) -> Event:
    """The event of an account's own switch; it starts a causation chain of its own, whose id follows from the revision."""
    whose = f"{switch.scope.broker}:{switch.scope.account}"
    return switch_event(switch, ids.output_id(SOURCE, whose, "account_switch", switch.revision))


def switch_event(switch: KillSwitch, command: str, correlation_id: str = "") -> Event:
    """The event of a switch; `command` is the id of what set it, and its correlation id where no other is given."""
    event = envelope(
        event_id=ids.output_id(SOURCE, command, "kill_switch"),
        correlation_id=correlation_id or command,
        causation_id=command,
        broker="",
        source=SOURCE,
        occurred_at=_changed_at(switch),
    )
    event.kill_switch_changed.CopyFrom(
        control_pb2.KillSwitchChanged(
            state=common.TradingState.ValueType(switch.state),
            broker=switch.scope.broker,
            revision=switch.revision,
            changed_by=switch.changed_by,
            reason=switch.reason,
            changed_at=timestamp(switch.changed_at),
            strategy_id=switch.scope.strategy_id,
            account=switch.scope.account,
        )
    )
    return event


def kill_switch_message(switch: KillSwitch) -> risk.KillSwitch:
    """The message of a kill switch."""
    return risk.KillSwitch(
        broker=switch.scope.broker,
        state=common.TradingState.ValueType(switch.state),
        revision=switch.revision,
        changed_by=switch.changed_by,
        reason=switch.reason,
        changed_at=timestamp(switch.changed_at),
        strategy_id=switch.scope.strategy_id,
        account=switch.scope.account,
    )


def _changed_at(switch: KillSwitch) -> datetime:
    if switch.changed_at is None:
        raise ValueError(f"the kill switch of {switch.scope} was never set")
    return switch.changed_at
