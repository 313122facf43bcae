"""Who manages the portfolios of which broker: one file, one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from alphapanda.portfolio.managers.base import BasePortfolioManager, ManagerParts
from alphapanda.portfolio.managers.paper import BooksDisagree, PaperPortfolioManager

__all__ = [
    "MANAGERS",
    "BasePortfolioManager",
    "BooksDisagree",
    "ManagerParts",
    "PaperPortfolioManager",
    "build_managers",
]

MANAGERS: dict[str, Callable[[str, ManagerParts], BasePortfolioManager]] = {
    "paper": PaperPortfolioManager,
}


def build_managers(
    brokers: Iterable[str], parts: ManagerParts, simulated: Iterable[str] = ()
) -> Mapping[str, BasePortfolioManager]:
    """The managers of those brokers that have one, by broker; nobody else keeps the books of a simulated one: paper's does."""
    managers = dict.fromkeys(simulated, MANAGERS["paper"]) | MANAGERS
    return {broker: managers[broker](broker, parts) for broker in brokers if broker in managers}
