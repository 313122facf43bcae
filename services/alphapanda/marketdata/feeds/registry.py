"""The feeds by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from alphapanda.domain.errors import UnknownName
from alphapanda.marketdata.feeds.feed import Feed, FeedContext
from alphapanda.marketdata.feeds.replay import ReplayFeed, open_replay
from alphapanda.marketdata.feeds.sim import SimulatedFeed

FEEDS: Final[Mapping[str, Callable[[str, FeedContext], Feed]]] = {
    SimulatedFeed.name: SimulatedFeed.open,
    ReplayFeed.name: open_replay,
}


def open_feed(wanted: str, context: FeedContext) -> Feed:
    """Opens the feed that `--feed` names: "sim" or "replay:FILE".

    Raises:
        UnknownName: no feed has this name.
        InvalidInput: the argument after the colon can't be used.
    """
    name, _, argument = wanted.partition(":")
    opener = FEEDS.get(name)
    if opener is None:
        raise UnknownName("feed", name, FEEDS)
    return opener(argument, context)
