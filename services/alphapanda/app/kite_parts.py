"""What a process needs to call Kite, for each account: the session it follows, and the HTTP API. Imported only where Zerodha is used."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from alphapanda.app.clocks import today, wall_clock
from alphapanda.app.kite import kite_options, kite_session_keys
from alphapanda.app.kite_accounts import BROKER_SESSION_SERVICE, kite_accounts
from alphapanda.app.kite_following import KiteSessionWatch
from alphapanda.app.resources import ProcessResources
from alphapanda.kite.limiter import CallKind
from alphapanda.kite.options import BROKER, KiteOptions
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import KiteSession, SessionFollower
from alphapanda.mesh.sealing import Sealer
from alphapanda.telemetry.figures import Point
from alphapanda.telemetry.gauges import HEADROOM, LIMIT
from alphapanda.telemetry.redaction import remember_session_secret

SLOW_SECONDS: Final = 2.0
"""An answer of Kite's that takes longer is told."""
NEARLY_USED: Final = 0.25
"""Share of the day's order requests below which it is told."""


@dataclass(frozen=True, slots=True)
class KiteParts:
    """What calls Kite in a process.

    Attributes:
        options: addresses, time-outs, limits.
        followers: the session of each account.
        rest: the HTTP API by account.
        watch: keeps the followers up to date.
    """

    options: KiteOptions
    followers: Mapping[str, SessionFollower]
    rest: Mapping[str, KiteRest]
    watch: KiteSessionWatch

    async def start(self) -> None:
        """Begins to follow the sessions."""
        await self.watch.start()

    async def stop(self) -> None:
        """Stops following, and calling."""
        await self.watch.stop()
        for rest in self.rest.values():
            rest.stop()

    def notices(self) -> Sequence[str]:
        """What a person should know, one line each: who has to sign in, what fails, what is nearly used up."""
        return [*self.watch.notices(), *(line for rest in self.rest.values() for line in rest_notices(rest))]

    def points(self) -> Sequence[Point]:
        """Free places of the limiters, of the account that has fewest."""
        found = []
        for kind in CallKind:
            free = min(rest.limiter.headroom(kind) for rest in self.rest.values())
            labels = (f"kite_{kind.name.lower()}", BROKER)
            places = next(iter(self.rest.values())).limiter.places(kind)
            found += [Point(HEADROOM, int(free * places), labels), Point(LIMIT, places, labels)]
        return found


def rest_notices(rest: KiteRest) -> Iterator[str]:
    """What a person should know of an account's calls, one line each."""
    figures, left = rest.figures, rest.limiter.left_today(CallKind.EXIT)
    if figures.last_error:
        yield f"{figures.last_error}; since then no call was answered"
    elif figures.latency_seconds is not None and figures.latency_seconds > SLOW_SECONDS:
        yield f"account {rest.account}: Zerodha took {figures.latency_seconds:.1f} s for its newest answer"
    if left < NEARLY_USED * rest.limiter.per_day:
        yield f"account {rest.account}: {left} of {rest.limiter.per_day} order requests of the day are left, for exits"


def kite_parts(resources: ProcessResources, caller: str) -> KiteParts:
    """Builds them; nothing runs before `start`.

    Args:
        resources: shared by the services of the process.
        caller: short name of the service whose calls they are.

    Raises:
        InvalidInput: the key of access tokens is missing.
    """
    settings = resources.settings
    options = kite_options(settings)
    channel = resources.channel("auth", BROKER_SESSION_SERVICE, caller=caller)
    followers: dict[str, SessionFollower] = {}
    watch = KiteSessionWatch(
        channel, Sealer(kite_session_keys(settings), BROKER), followers, remember_session_secret
    )

    async def refused(session: KiteSession, words: str) -> None:
        await watch.report(session, words)

    for account in kite_accounts(settings):
        followers[account] = SessionFollower(account, wall_clock, refused)
    log = structlog.get_logger("alphapanda.kite")
    rest = {
        account: KiteRest(options, follower, log, time.monotonic, wall_clock, today)
        for account, follower in followers.items()
    }
    return KiteParts(options, followers, rest, watch)
