"""Builds what the live feed of Kite is made of; imported only where it is the feed."""

from __future__ import annotations

import time
from typing import Final

import structlog

from alphapanda.app.kite_accounts import kite_accounts
from alphapanda.app.process import Phase, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.app.rooms.reading import follower
from alphapanda.consuming.known_strategies import PAYLOAD as STRATEGIES
from alphapanda.domain.errors import InvalidInput
from alphapanda.eventlog.port import Start
from alphapanda.kite.options import KiteOptions
from alphapanda.kite.ticker import Receiver, TickerConnection
from alphapanda.kite.tickers import TickerPool
from alphapanda.marketdata.feeds.feed import Feed
from alphapanda.marketdata.feeds.kite import KiteFeed, KiteSource
from alphapanda.marketdata.feeds.kite_streamed import StreamedInstruments
from alphapanda.marketdata.feeds.raw_recording import RawRecorder
from alphapanda.marketdata.holdings import HeldInstruments
from alphapanda.marketdata.watching import QuoteWatches
from alphapanda.resilience.rounds import Rounds
from panda.events.v1.control_pb2 import STRATEGY_STATE_RUNNING
from panda.events.v1.events_pb2 import Event
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub

HOLDINGS_SECONDS: Final = 5.0
"""Wall time after which a new position's instrument is streamed, where no strategy trades it."""
_PORTFOLIO: Final = "panda.portfolio.v1.PortfolioService"
_log = structlog.get_logger("alphapanda.marketdata")


def kite_source(resources: ProcessResources) -> KiteSource:
    """The feed's source: the session of the first account streams for all.

    At another address than Kite's is a simulated exchange, which owns its market time.

    Raises:
        InvalidInput: Zerodha isn't used.
    """
    kite = resources.kite
    accounts = kite_accounts(resources.settings)
    if kite is None or not accounts:
        raise InvalidInput(
            "feed", "kite", "a feed with an app at Kite: set zerodha.api_key and zerodha.api_secret"
        )
    account = accounts[0]
    sessions, rest, options = kite.followers[account], kite.rest[account], kite.options

    def pool(receiver: Receiver) -> TickerPool:
        return TickerPool(
            lambda number: TickerConnection(
                number, options.ws_root, sessions, options.reconnection, receiver, confirm=rest.finds_dead
            )
        )

    streamed = StreamedInstruments(resources.directory)
    folder = resources.settings.marketdata.raw_folder
    return KiteSource(
        pool,
        streamed,
        time.time_ns,
        simulated=options.ws_root != KiteOptions().ws_root,
        recorder=None if folder is None else RawRecorder(folder),
    )


def with_followed(room: Room, resources: ProcessResources, feed: Feed, watches: QuoteWatches) -> None:
    """Adds to market data's room what tells the feed which instruments to stream: strategies, positions and watchers."""
    if not isinstance(feed, KiteFeed):
        return
    streamed = feed.streamed
    streamed.watched = watches.tokens

    async def changed(event: Event) -> None:
        change = event.strategy_changed
        runs = change.state == STRATEGY_STATE_RUNNING
        streamed.strategy(
            change.strategy_id, [one.instrument_id for one in change.instruments] if runs else ()
        )

    channel = resources.channel("portfolio", _PORTFOLIO, caller="marketdata")
    held = HeldInstruments(PortfolioServiceStub(channel), streamed.positions)
    rounds = Rounds("instruments of positions", held.read, HOLDINGS_SECONDS, _log, at_once=True)
    strategies = follower(
        resources, "marketdata", "marketdata.strategies", STRATEGIES, changed, Start.EARLIEST
    )
    room.followers = [*room.followers, strategies]
    room.parts = [(Phase.WAKE, rounds), *room.parts]
    room.channels = [*room.channels, channel]
