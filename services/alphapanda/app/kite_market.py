"""Zerodha's list of instruments and bars of the past, for the services that have them; imported only where Zerodha is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from alphapanda.app.clocks import wall_clock
from alphapanda.app.instruments import registry_of
from alphapanda.domain.errors import InvalidInput
from alphapanda.instruments.core import shipped_facts, shipped_instruments
from alphapanda.instruments.daily import DailyDump
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import NoSession
from alphapanda.marketdata.kite_history import KiteHistory
from alphapanda.settings.model import Settings

SOURCE: Final = "zerodha"
NO_ACCOUNT: Final = "nobody is signed in at Zerodha; run `alphapanda kite login`"


def daily_dump(
    settings: Settings, rest: Mapping[str, KiteRest], now: Callable[[], datetime] = wall_clock
) -> DailyDump:
    """Imports the day's dump with the session of the first account that has one."""

    async def download() -> bytes:
        nobody: NoSession | None = None
        for client in rest.values():
            try:
                return await client.instruments()
            except NoSession as no_session:
                nobody = nobody or no_session
        raise nobody or InvalidInput("zerodha.accounts", "", NO_ACCOUNT)

    return DailyDump(
        SOURCE,
        download,
        (NoSession,),
        registry_of(settings),
        shipped_instruments,
        shipped_facts(),
        now,
    )


def kite_history(rest: Mapping[str, KiteRest]) -> KiteHistory:
    """Bars of the past."""
    return KiteHistory(lambda: list(rest.values()))
