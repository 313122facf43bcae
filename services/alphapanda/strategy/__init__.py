"""Runs strategies. This module exports everything that the author of a strategy needs."""

from pydantic import Field

from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.basket import BasketStrategy
from alphapanda.strategy.core.holdings import Context, Holding, OpenOrder, Position
from alphapanda.strategy.core.pricing import At, Protect
from alphapanda.strategy.core.strategy import (
    BarParameters,
    BarStrategy,
    Stance,
    Strategy,
    StrategyParameters,
    Target,
    Wish,
)

__all__ = [
    "At",
    "Bar",
    "BarParameters",
    "BarStrategy",
    "BasketStrategy",
    "Context",
    "Field",
    "Holding",
    "OpenOrder",
    "Position",
    "Protect",
    "Stance",
    "Strategy",
    "StrategyParameters",
    "Target",
    "Wish",
]
