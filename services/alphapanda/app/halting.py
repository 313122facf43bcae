"""Halts every broker until it was reconciled: after a repair or a restore the database may be older than the broker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from alphapanda.contract.topics import TopicMap
from alphapanda.risk.store.recovery import halt_until_reconciled
from alphapanda.storage.outbox import Outbox
from alphapanda.trading.store.recovery import halt, switch_revision


async def halt_brokers(
    connection: AsyncConnection, topic_map: TopicMap, cause: str, now: datetime
) -> Sequence[str]:
    """Halts every active broker, in risk's row and in trading's copy; returns the brokers.

    Args:
        connection: a transaction of a platform that is stopped.
        topic_map: the topics of the active brokers.
        cause: what happened, such as "the event log was repaired".
        now: wall time.
    """
    outbox = Outbox("risk", topic_map)
    for broker in topic_map.active_brokers:
        least = await switch_revision(connection, broker)
        switch = await halt_until_reconciled(connection, outbox, broker, cause, now, least)
        await halt(connection, broker, switch.revision)
    return topic_map.active_brokers
