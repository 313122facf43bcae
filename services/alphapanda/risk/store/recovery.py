"""What a repair or a restore does in the schema `risk`, while the platform is stopped."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from alphapanda.domain import ids
from alphapanda.domain.order import TradingState
from alphapanda.risk.store import rows
from alphapanda.risk.store import statements as sql
from alphapanda.risk.store.port import KillSwitch, SwitchScope
from alphapanda.risk.store.unit import locked_switch
from alphapanda.risk.switch_events import SOURCE, next_switch, switch_event
from alphapanda.storage.outbox import Outbox
from panda.events.v1.events_pb2 import Event

_DUE = text(
    "INSERT INTO risk.reconciliations (broker, cause, state_before, due_since)"
    " VALUES (:broker, :cause, :state_before, :due_since)"
    " ON CONFLICT (broker) DO UPDATE SET cause = excluded.cause, due_since = excluded.due_since"
)
_SWITCHES = text("SELECT * FROM risk.kill_switches WHERE revision > 0 ORDER BY broker, account, strategy_id")
_NEWEST_DECISION = text("SELECT max(decided_at) FROM risk.verdicts")


async def halt_until_reconciled(
    connection: AsyncConnection, outbox: Outbox, broker: str, cause: str, now: datetime, least_revision: int
) -> KillSwitch:
    """Halts a broker and says why; returns its kill switch. A broker that is halted for this already stays so.

    Args:
        connection: a transaction.
        outbox: risk's.
        broker: the broker.
        cause: what happened, such as "the event log was repaired".
        now: wall time.
        least_revision: the revision is higher than this: that of trading's copy.
    """
    held = await locked_switch(connection, SwitchScope(broker))
    due = {"broker": broker, "cause": cause, "state_before": int(held.state), "due_since": now}
    await connection.execute(_DUE, due)
    raised = KillSwitch(held.scope, held.state, max(held.revision, least_revision))
    reason = f"{cause}: halted until orders, positions and cash are reconciled"
    switch = next_switch(raised, TradingState.HALTED, reason, now)
    await connection.execute(sql.SET_SWITCH, rows.switch_values(switch))
    await connection.execute(sql.COUNT_CHANGE, switch.scope._asdict())
    await outbox.add(connection, [_event(switch)])
    return switch


async def announce_switches(connection: AsyncConnection, outbox: Outbox) -> int:
    """Adds an event of each kill switch as it stands, for a log that lost the earlier ones; returns how many."""
    switches = [rows.switch_of(row) for row in await connection.execute(_SWITCHES)]
    await outbox.add(connection, [_event(switch) for switch in switches])
    return len(switches)


async def newest_decision(connection: AsyncConnection) -> datetime | None:
    """The latest market time of a verdict."""
    found: datetime | None = (await connection.execute(_NEWEST_DECISION)).scalar_one()
    return found


def _event(switch: KillSwitch) -> Event:
    whose = ":".join(switch.scope)
    return switch_event(switch, ids.output_id(SOURCE, whose, "announced_switch", switch.revision))
