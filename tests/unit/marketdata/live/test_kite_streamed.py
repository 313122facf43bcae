"""Which instruments are streamed, and the reading of positions that says so."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

import grpc
from structlog.testing import capture_logs

from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.kite.subscriptions import Mode
from alphapanda.marketdata.feeds.kite_streamed import NIFTY_50, StreamedInstruments
from alphapanda.marketdata.holdings import HeldInstruments
from panda.portfolio.v1 import portfolio_pb2 as api


def known(token: int, symbol: str, segment: str = "NSE") -> Instrument:
    """An instrument of NSE."""
    return Instrument(
        f"NSE:{symbol}", token, "NSE", symbol, "", segment, "EQ", Decimal("0.05"), 1, 0, "NSE_EQ"
    )


def test_what_is_traded_comes_first_and_in_full_and_what_is_watched_as_quotes() -> None:
    """The index gives the time; an instrument that is held and watched is streamed in full; unknown ones aren't."""
    directory = InstrumentDirectory(
        [known(NIFTY_50, "NIFTY 50", "INDICES"), *(known(256 * n + 1, f"S{n}") for n in range(1, 6))]
    )
    streamed = StreamedInstruments(directory)
    streamed.watched = lambda: [256 * 3 + 1, 256 * 1 + 1]
    streamed.strategy("a", ["NSE:S1", "NSE:S2", "NSE:GONE"])
    streamed.positions(["NSE:S4"])
    assert list(streamed.modes().items()) == [
        (NIFTY_50, Mode.FULL),
        (256 * 4 + 1, Mode.FULL),
        (256 * 1 + 1, Mode.FULL),
        (256 * 2 + 1, Mode.FULL),
        (256 * 3 + 1, Mode.QUOTE),
    ]
    streamed.strategy("a", ())
    streamed.positions(())
    assert list(streamed.modes()) == [NIFTY_50, 256 * 3 + 1, 256 * 1 + 1]


def test_a_token_that_changes_hands_is_followed() -> None:
    """Strategies and positions are known by our ids, so that they follow an instrument to its new token."""
    directory = InstrumentDirectory([known(257, "S1")])
    streamed = StreamedInstruments(directory)
    streamed.strategy("a", ["NSE:S1"])
    directory.take([known(513, "S1")])
    assert list(streamed.modes()) == [513]


class Books:
    """Portfolio's books: two accounts, and positions in pages of one."""

    def __init__(self) -> None:
        self.away = False

    async def ListPortfolios(self, request: api.ListPortfoliosRequest) -> api.ListPortfoliosResponse:  # noqa: N802
        """The accounts, one a page."""
        if self.away:
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "away"
            )
        number = int(request.page_token or 0)
        one = api.Portfolio(broker="paper", account=f"a{number}")
        return api.ListPortfoliosResponse(portfolios=[one], next_page_token="" if number else "1")

    async def ListPositions(self, request: api.ListPositionsRequest) -> api.ListPositionsResponse:  # noqa: N802
        """Two positions, one a page."""
        number = int(request.page_token or 0)
        one = api.Position(instrument_id=f"NSE:{request.account}-{number}")
        return api.ListPositionsResponse(positions=[one], next_page_token="" if number else "1")


async def test_the_instruments_of_all_positions_are_read_and_kept_while_portfolio_is_away() -> None:
    """All pages of all accounts; where there is no answer the ones of before go on being streamed, with a warning."""
    taken: list[Collection[str]] = []
    books: Any = Books()
    held = HeldInstruments(books, taken.append)
    await held.read()
    assert [sorted(one) for one in taken] == [["NSE:a0-0", "NSE:a0-1", "NSE:a1-0", "NSE:a1-1"]]
    books.away = True
    with capture_logs() as logs:
        for _ in range(3):
            await held.read()
    assert len(taken) == 1
    assert [line["event"] for line in logs] == ["feed.positions_unread"] * 2
