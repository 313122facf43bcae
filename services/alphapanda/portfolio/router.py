"""Who manages which broker's portfolios; frames go to all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from alphapanda.domain.frame import Frame
from alphapanda.domain.market import LastPrice
from alphapanda.portfolio.managers import BasePortfolioManager


class NoPortfolioManager(LookupError):
    """A fill of a broker whose portfolios nobody manages here."""

    def __init__(self, broker: str, known: Iterable[str]) -> None:
        managed = ", ".join(sorted(known)) or "none"
        super().__init__(f"broker {broker!r} has no portfolio manager; managed brokers: {managed}")


class PortfolioRouter:
    """The managers, by broker."""

    def __init__(self, managers: Mapping[str, BasePortfolioManager]) -> None:
        self._managers = managers

    @property
    def brokers(self) -> tuple[str, ...]:
        """The managed ones."""
        return tuple(self._managers)

    def manager(self, broker: str) -> BasePortfolioManager:
        """The manager of a broker.

        Raises:
            NoPortfolioManager: it has none.
        """
        found = self._managers.get(broker)
        if found is None:
            raise NoPortfolioManager(broker, self._managers)
        return found

    async def start(self) -> None:
        """Starts all, one after the other.

        Raises:
            BooksDisagree: see PaperPortfolioManager.start.
        """
        for manager in self._managers.values():
            await manager.start()

    async def stop(self) -> None:
        """Stops all."""
        for manager in self._managers.values():
            await manager.stop()

    async def prove(self) -> int:
        """Proves every broker's books; returns how many accounts there are.

        Raises:
            BooksDisagree: the first that does.
        """
        return sum([await manager.prove() for manager in self._managers.values()])

    def handle_frame(self, frame: Frame) -> None:
        """Marks every broker's portfolios at the frame's prices."""
        for manager in self._managers.values():
            manager.handle_frame(frame)

    def prices(self, broker: str, instrument_ids: Collection[str]) -> Mapping[str, LastPrice]:
        """Last prices by instrument_id; an instrument without one is absent, all are where nobody manages the broker."""
        manager = self._managers.get(broker)
        return manager.prices(instrument_ids) if manager else {}
