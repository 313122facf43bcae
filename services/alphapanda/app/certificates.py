"""Watches the process's certificate: says when it is about to expire, and when its newest files can't be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Final

import structlog

from alphapanda.app.clocks import wall_clock
from alphapanda.mesh.tls import TlsMaterial
from alphapanda.resilience.rounds import Rounds

WATCH_SECONDS: Final = 10.0
REMEDY: Final = "put a new certificate and key into the files; no restart is needed"
_log = structlog.get_logger(__name__)


def certificate_ending(material: TlsMaterial, now: datetime, warn_days: int) -> str | None:
    """What to say about the certificate's end; None while it is further away than `warn_days`."""
    facts = material.contents.facts
    if facts is None:
        return None
    left = (facts.not_after - now).days
    if left >= warn_days:
        return None
    named = f"the TLS certificate in {material.files.certificate}"
    if now >= facts.not_after:
        return f"{named} expired on {facts.not_after:%d %b %Y %H:%M} UTC: nobody can connect"
    return f"{named} expires on {facts.not_after:%d %b %Y %H:%M} UTC, in {left} days"


def certificate_days(material: TlsMaterial | None) -> float | None:
    """Days until the certificate expires, negative after it; None without one."""
    if material is None or material.contents.facts is None:
        return None
    return (material.contents.facts.not_after - wall_clock()).total_seconds() / 86_400


def certificate_notices(material: TlsMaterial | None, warn_days: int) -> Callable[[], Sequence[str]]:
    """A function that says what a person should know about the certificate now."""

    def said() -> Sequence[str]:
        if material is None:
            return []
        material.look()
        found = []
        if (ending := certificate_ending(material, wall_clock(), warn_days)) is not None:
            found.append(f"{ending}: {REMEDY}")
        if material.problem:
            found.append(f"the new TLS files can't be used, the old ones stay: {material.problem}")
        return found

    return said


def certificate_watch(material: TlsMaterial, warn_days: int) -> Rounds:
    """Builds the task that reads the files again and logs a nearing end once a day, a problem and a new certificate once."""
    ending_logged: date | None = None
    suspected = ""
    problem_logged = ""
    version = material.version

    async def look() -> None:
        nonlocal ending_logged, suspected, problem_logged, version
        if (newest := material.look()) != version:
            version = newest
            facts = material.contents.facts
            _log.info("tls.certificate_replaced", not_after=str(facts.not_after) if facts else None)
        problem = material.problem
        # In the second round only: a certificate is replaced before its key or after it.
        if problem and problem == suspected and problem != problem_logged:
            _log.error(
                "tls.certificate_refused", alarm=True, error=problem, remedy="the old one is still used"
            )
            problem_logged = problem
        suspected = problem
        now = wall_clock()
        said = certificate_ending(material, now, warn_days)
        if said is not None and ending_logged != now.date():
            ending_logged = now.date()
            _log.warning("tls.certificate_end_neared", alarm=True, message=said, remedy=REMEDY)

    return Rounds("certificate watch", look, WATCH_SECONDS, _log, at_once=True)
