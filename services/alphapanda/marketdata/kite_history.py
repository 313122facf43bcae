"""Bars of the past from Kite. Imported only where Zerodha is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.money import to_paisa
from alphapanda.kite.outcomes import KiteError, KiteReason
from alphapanda.kite.rest import KiteRest, Row
from alphapanda.kite.session import IST, NoSession
from alphapanda.marketdata.core.historical import HistoricalBar, Interval
from alphapanda.marketdata.history import HistorySource
from alphapanda.mesh.errors import FailedPrecondition, Unavailable

_ASKED_WRONGLY: Final = frozenset({KiteReason.BAD_REQUEST, KiteReason.TOO_MUCH_AT_ONCE})
_END_OF_DAY: Final = time(23, 59, 59)


class KiteHistory(HistorySource):
    """Asks Kite with the session of the first account that has one.

    Args:
        clients: returns Kite's clients, in the order of the accounts.
    """

    def __init__(self, clients: Callable[[], Sequence[KiteRest]]) -> None:
        self._clients = clients

    @override
    async def bars(
        self, instrument: Instrument, interval: Interval, first: date, last: date
    ) -> Sequence[HistoricalBar]:
        begin, end = datetime.combine(first, time.min, IST), datetime.combine(last, _END_OF_DAY, IST)
        oi = instrument.expiry is not None
        nobody: NoSession | None = None
        for client in self._clients():
            try:
                rows = await client.candles(instrument.instrument_token, interval.kite, begin, end, oi=oi)
            except NoSession as no_session:
                nobody = nobody or no_session
                continue
            except KiteError as error:
                if error.reason in _ASKED_WRONGLY:
                    raise InvalidInput(
                        "symbol", instrument.symbol, f"an instrument of which Zerodha has bars ({error})"
                    ) from None
                raise Unavailable("BROKER_FAILED", str(error)) from None
            return [_bar(row, oi=oi) for row in rows]
        raise FailedPrecondition("BROKER_SESSION_NEEDED", str(nobody or "there is no account at Zerodha"))


def _bar(row: Row, *, oi: bool) -> HistoricalBar:
    return HistoricalBar(
        start=row["date"],
        open=_rupees(row["open"]),
        high=_rupees(row["high"]),
        low=_rupees(row["low"]),
        close=_rupees(row["close"]),
        volume=int(row["volume"]),
        open_interest=int(row.get("oi", 0)) if oi else None,
    )


def _rupees(number: Any) -> Decimal:
    """A price of Kite's JSON, which kiteconnect reads as float or int."""
    return to_paisa(Decimal(str(number)))
