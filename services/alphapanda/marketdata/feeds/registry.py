"""The feeds by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.marketdata.feeds.feed import Feed, FeedContext
from alphapanda.marketdata.feeds.replay import ReplayFeed, open_replay
from alphapanda.marketdata.feeds.sim import SimulatedFeed

KITE: Final = "kite"
"""The live feed of Kite, known by name without importing anything of it."""

RAW: Final = "raw"
"""Recorded messages of it."""


def _open_kite(argument: str, context: FeedContext) -> Feed:
    """Opens the live feed; what it needs is imported here alone.

    Raises:
        InvalidInput: an argument was given, or Zerodha isn't used.
    """
    if argument:
        raise InvalidInput("feed", f"kite:{argument}", "kite, without an argument")
    if context.kite is None:
        raise InvalidInput(
            "feed",
            "kite",
            "a feed with an app at Kite: set zerodha.api_key and zerodha.api_secret, then sign in",
        )
    kite = import_module("alphapanda.marketdata.feeds.kite")
    feed: Feed = (kite.SimulatedKiteFeed if context.kite.simulated else kite.KiteFeed)(context)
    return feed


def _open_raw(argument: str, context: FeedContext) -> Feed:
    """Opens recorded messages of a live feed.

    Raises:
        InvalidInput: the file can't be read.
    """
    feed: Feed = import_module("alphapanda.marketdata.feeds.kite").RawFeed(argument, context)
    return feed


FEEDS: Final[Mapping[str, Callable[[str, FeedContext], Feed]]] = {
    SimulatedFeed.name: SimulatedFeed.open,
    ReplayFeed.name: open_replay,
    KITE: _open_kite,
    RAW: _open_raw,
}


def open_feed(wanted: str, context: FeedContext) -> Feed:
    """Opens the feed that `--feed` names: "sim", "replay:FILE", "kite" or "raw:FILE".

    Raises:
        UnknownName: no feed has this name.
        InvalidInput: the argument after the colon can't be used.
    """
    name, _, argument = wanted.partition(":")
    opener = FEEDS.get(name)
    if opener is None:
        raise UnknownName("feed", name, FEEDS)
    return opener(argument, context)
