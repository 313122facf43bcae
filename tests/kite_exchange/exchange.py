"""The exchange as a whole: what the HTTP and WebSocket routes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from aiohttp import web
from tests.kite_exchange.candles import Candles
from tests.kite_exchange.clock import Clock
from tests.kite_exchange.desk import Desk
from tests.kite_exchange.faults import Script
from tests.kite_exchange.gtt import Triggers
from tests.kite_exchange.limits import Limits
from tests.kite_exchange.listed import ROWS, Listing
from tests.kite_exchange.market import Market
from tests.kite_exchange.postbacks import Postbacks
from tests.kite_exchange.sessions import App, Sessions
from tests.kite_exchange.ticker import Ticker

APP: Final = App(api_key="stubkey", api_secret="stub-" + "secret")


@dataclass(slots=True)
class Exchange:
    """Everything there is behind the API.

    Attributes:
        clock: its time, which limits, sessions and orders go by.
        sessions: apps and who is logged in.
        limits: its count of requests.
        market: prices.
        candles: history.
        ticker: the WebSocket's connections.
        desk: orders, trades and accounts.
        triggers: GTTs.
        postbacks: order updates.
        script: what goes wrong.
        dumps: what the instruments dump is replaced by, for the next answers; None: the listing itself.
        logs_in: whether a login needs no person: the redirect comes at once.
        wanders: whether subscribed instruments that follow no feed trade, too.
        keep: writes the books to a file, where they are kept.
    """

    clock: Clock
    sessions: Sessions
    limits: Limits
    market: Market
    candles: Candles
    ticker: Ticker
    desk: Desk
    triggers: Triggers
    postbacks: Postbacks
    script: Script = field(default_factory=Script)
    dumps: str | None = None
    logs_in: bool = True
    wanders: bool = True
    keep: Callable[[], None] = lambda: None

    @classmethod
    def of(
        cls,
        apps: Sequence[App] = (APP,),
        *,
        clock: Clock | None = None,
        rows: int = ROWS,
        day: date | None = None,
    ) -> Exchange:
        """An exchange with these apps; nobody is logged in, and nothing has been traded.

        Args:
            apps: the apps of its users.
            clock: its time; the wall clock by default.
            rows: how many instruments are listed.
            day: the instruments' day; today by default.
        """
        clock = clock or Clock()
        sessions = Sessions.of(apps, clock)
        market = Market(Listing(day or clock.day(), rows))
        limits, ticker = Limits(clock), Ticker(market, sessions)
        desk = Desk(clock, market, limits)
        postbacks = Postbacks(ticker, sessions.apps)
        made = cls(clock, sessions, limits, market, Candles(), ticker, desk, Triggers(desk), postbacks)
        market.changed.append(made.on_prices)
        desk.told.append(postbacks.told)
        return made

    def on_prices(self, tokens: set[int]) -> None:
        """Prices have changed: history, orders, then the ticker."""
        for token in tokens:
            quote = self.market.quote(token)
            if quote is not None:
                self.candles.see(quote)
        self.desk.on_prices(tokens)
        self.triggers.on_prices(tokens)
        self.ticker.on_prices(tokens)

    def beat(self) -> None:
        """What happens by itself, some times a second: sessions end, and what follows no feed trades."""
        self.ticker.cut_sessionless()
        self.desk.beat()
        self.keep()
        if self.wanders:
            self.market.wander(self.ticker.subscribed(), self.clock.ns())

    def list_day(self, day: date) -> None:
        """A new day's instruments; the order book begins anew, and accounts roll."""
        self.market.list_day(Listing(day, len(self.market.listing.rows)))
        self.desk.list_day()


EXCHANGE: Final = web.AppKey("exchange", Exchange)


def exchange_of(request: web.Request) -> Exchange:
    """The exchange that a request is for."""
    return request.app[EXCHANGE]
