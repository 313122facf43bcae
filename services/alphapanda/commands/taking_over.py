"""`alphapanda db restored`: takes over a restored database, says what was done."""

from __future__ import annotations

import asyncio

from sqlalchemy.exc import SQLAlchemyError

from alphapanda.app.mesh_restored import TakenOver, take_over_restored
from alphapanda.app.serve import NotReady
from alphapanda.commands.console import fail, out, warn
from alphapanda.commands.repairing import RECONCILE, progress
from alphapanda.eventlog.kafka.log import GroupRuns
from alphapanda.eventlog.port import LogUnavailable, TopicMissing
from alphapanda.resilience.failures import in_one_line
from alphapanda.settings.model import Settings

_NAMED = 3


def run_db_restored(settings: Settings, *, force: bool) -> None:
    """Runs `alphapanda db restored`; exit code 1 with one line where it can't."""
    try:
        done = asyncio.run(take_over_restored(settings, progress, force=force))
    except (NotReady, GroupRuns, LogUnavailable, TopicMissing) as error:
        fail(str(error))
    except (SQLAlchemyError, OSError) as error:
        fail(f"the database can't be taken over: {in_one_line(error)}")
    if done is None:
        out.print(
            "the database knows all that Kafka holds: nothing to take over (--force does it all the same)"
        )
    else:
        _say(done)


def _say(done: TakenOver) -> None:
    for payload, events in done.left_out.items():
        some = ", ".join(events[:_NAMED]) + (" …" if events[_NAMED:] else "")
        warn(f"{len(events)} events {payload} on Kafka are of the time that was taken back: {some}")
    if done.discarded:
        warn(f"{done.discarded} approved signals end as DISCARDED: the database has forgotten their orders")
    again = f"{done.published_again} order events are published again from the database"
    lines = [
        f"taken over, because {done.why or 'it was forced'}",
        f"{again}; {done.skipped} strategies' states go on at the end of the ticks",
        RECONCILE,
    ]
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)
