"""Checks the event log of a data directory before it is used: a start refuses one that doesn't go with the database."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.app.clocks import wall_clock
from alphapanda.app.findings import Finding, fail, ok, warn
from alphapanda.app.log_agreement import Agreement, compare, has_history
from alphapanda.contract.topics import TopicMap
from alphapanda.embedded.errors import EventLogUnfit
from alphapanda.embedded.layout import Layout
from alphapanda.eventlog.port import EventLog, LogUnavailable
from alphapanda.eventlog.sqlite.examining import Condition, examine
from alphapanda.eventlog.sqlite.log import SqliteEventLog

LOOK_SECONDS: Final = 0.5
"""How long a start reads the file to find damage; the doctor and a repair take longer."""

DOCTOR_SECONDS: Final = 10.0
REPAIR_SECONDS: Final = 120.0
_SAYS: Final = {
    Condition.MISSING: "is missing, and the database knows of events that were on it",
    Condition.EMPTY: "is empty, and the database knows of events that were on it",
}


def repair_remedy(layout: Layout) -> str:
    """What to do about a log that can't be used."""
    return f"stop the platform where it runs, then `alphapanda log repair --data-dir {layout.root}` rebuilds it from the database"


async def require_usable_log(layout: Layout, engine: AsyncEngine) -> None:
    """Checks the log's file before it is opened, because opening makes a missing one.

    Raises:
        EventLogUnfit: it can't be used as it is.
    """
    found = await asyncio.to_thread(examine, layout.events, LOOK_SECONDS)
    match found.condition:
        case Condition.SOUND:
            return
        case Condition.MISSING | Condition.EMPTY:
            if await has_history(engine):
                raise EventLogUnfit(layout.events, _SAYS[found.condition], repair_remedy(layout))
        case Condition.DAMAGED:
            raise EventLogUnfit(layout.events, f"is damaged ({found.detail})", repair_remedy(layout))
        case Condition.OTHER_VERSION:
            remedy = "install the version that last ran here, or choose another folder with --data-dir"
            raise EventLogUnfit(layout.events, f"can't be read ({found.detail})", remedy)
        case Condition.UNREADABLE:
            remedy = "look at the folder's permissions and at which process holds the file"
            raise EventLogUnfit(layout.events, f"can't be opened ({found.detail})", remedy)


async def require_agreement(layout: Layout, engine: AsyncEngine, log: EventLog, topic_map: TopicMap) -> None:
    """Checks that log and database belong together; the log is started.

    Raises:
        EventLogUnfit: one of them is older than the other.
        LogUnavailable: the log can't be read.
    """
    compared = await compare(engine, log, topic_map, wall_clock())
    match compared.agreement:
        case Agreement.LOG_OLDER:
            reason = f"is older than the database ({compared.detail})"
            raise EventLogUnfit(layout.events, reason, repair_remedy(layout))
        case Agreement.DATABASE_OLDER:
            reason = f"is newer than the database ({compared.detail})"
            raise EventLogUnfit(layout.events, reason, repair_remedy(layout))


async def what_is_wrong(layout: Layout, engine: AsyncEngine, topic_map: TopicMap) -> str:
    """What a repair would mend in the log of a platform that is stopped, in one line; empty where nothing is wrong.

    Raises:
        EventLogUnfit: it can't be opened at all, so nothing is known of it.
    """
    found = await asyncio.to_thread(examine, layout.events, REPAIR_SECONDS)
    if found.condition in {Condition.UNREADABLE, Condition.OTHER_VERSION}:
        remedy = "it can't be repaired before it can be opened"
        raise EventLogUnfit(layout.events, f"is {found.condition.value} ({found.detail})", remedy)
    if found.condition is not Condition.SOUND:
        return f"it is {found.condition.value}: {found.detail}"
    log = SqliteEventLog(layout.events)
    try:
        await log.start()
        compared = await compare(engine, log, topic_map, wall_clock())
    except LogUnavailable as error:
        return str(error)
    finally:
        await log.stop()
    return "" if compared.agreement is Agreement.AGREE else f"{compared.agreement.value}: {compared.detail}"


def log_finding(data_dir: Path) -> Finding:
    """Checks the log of a data directory that no process uses, for the doctor."""
    layout = Layout(data_dir.expanduser().resolve())
    found = examine(layout.events, DOCTOR_SECONDS)
    if found.condition is Condition.SOUND:
        return ok("event log", f"{layout.events}: {found.detail}")
    if found.condition in _SAYS:
        if not layout.postgres_cluster.exists():
            return ok("event log", "a start makes it")
        reason = f"{layout.events} is {found.condition.value}, and there is a database that may know of events on it"
        return fail("event log", reason, repair_remedy(layout))
    if found.condition is Condition.DAMAGED:
        return fail("event log", f"{layout.events} is damaged: {found.detail}", repair_remedy(layout))
    return warn(
        "event log",
        f"{layout.events} can't be read: {found.detail}",
        "look at the folder's permissions, and at which process or version of the program uses it",
    )
