"""What a process needs to call Kite, for each account: the session it follows, and the HTTP API. Imported only where Zerodha is used."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from alphapanda.app.clocks import today, wall_clock
from alphapanda.app.kite import kite_options, kite_session_keys
from alphapanda.app.kite_accounts import BROKER_SESSION_SERVICE, kite_accounts
from alphapanda.app.kite_following import KiteSessionWatch
from alphapanda.app.resources import ProcessResources
from alphapanda.kite.options import BROKER, KiteOptions
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import KiteSession, SessionFollower
from alphapanda.mesh.sealing import Sealer
from alphapanda.telemetry.redaction import remember_session_secret


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
        """What a person should know, one line each."""
        return self.watch.notices()


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
