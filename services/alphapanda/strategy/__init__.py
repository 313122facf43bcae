"""Strategies: what they want to hold, tick by tick or bar by bar. What an author of one needs is imported from here."""

from pydantic import Field

from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.holdings import Context, Holding, OpenOrder, Position
from alphapanda.strategy.core.strategy import (
    BarParameters,
    BarStrategy,
    Stance,
    Strategy,
    StrategyParameters,
    Wish,
)

__all__ = [
    "Bar",
    "BarParameters",
    "BarStrategy",
    "Context",
    "Field",
    "Holding",
    "OpenOrder",
    "Position",
    "Stance",
    "Strategy",
    "StrategyParameters",
    "Wish",
]
