"""The registry of brokers: builds a trader for each active broker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alphapanda.domain.brokers import checked_broker
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.paper_exchange.exchange import PaperExchange
from alphapanda.trading.traders.trader import OffTrader, Trader

if TYPE_CHECKING:
    from alphapanda.trading.traders.kite_parts import ZerodhaParts


@dataclass(frozen=True, slots=True)
class TraderParts:
    """Dependencies that traders are built with.

    Attributes:
        paper_exchange: the paper exchange.
        paper_visibility_window: seconds within which it shows an order that it has received.
        zerodha: what Zerodha's trader is built with; None where Zerodha isn't used.
    """

    paper_exchange: PaperExchange
    paper_visibility_window: float
    zerodha: ZerodhaParts | None = None


@dataclass(frozen=True, slots=True)
class BrokerRegistration:
    """One broker: its name, whether its orders reach a real exchange, and how its trader is built."""

    name: str
    live: bool
    build: Callable[[TraderParts], Trader]


class BrokerRegistry:
    """The registered brokers.

    Args:
        registrations: normally `traders.brokers.BROKERS`.

    Raises:
        InvalidInput: a name isn't a valid broker name, or is registered twice.
    """

    def __init__(self, registrations: Iterable[BrokerRegistration]) -> None:
        self._registrations: dict[str, BrokerRegistration] = {}
        for registration in registrations:
            name = checked_broker(registration.name)
            if name in self._registrations:
                raise InvalidInput("broker", name, "a broker is registered once")
            self._registrations[name] = registration

    def live(self, active: Iterable[str]) -> tuple[str, ...]:
        """The active brokers whose orders reach a real exchange.

        Raises:
            UnknownName: an active broker isn't registered.
        """
        return tuple(name for name in active if self._require(name).live)

    def traders(
        self, active: Iterable[str], enabled: Collection[str], parts: TraderParts
    ) -> Mapping[str, Trader]:
        """Builds a trader for every active broker, by name; a broker that isn't enabled gets an OffTrader.

        Raises:
            UnknownName: an active broker isn't registered.
            InvalidInput: the trader of an enabled broker can't be built.
        """
        registrations = [self._require(name) for name in active]
        return {
            registration.name: registration.build(parts)
            if registration.name in enabled
            else OffTrader(registration.name)
            for registration in registrations
        }

    def _require(self, name: str) -> BrokerRegistration:
        registration = self._registrations.get(name)
        if registration is None:
            raise UnknownName("active_brokers", name, self._registrations)
        return registration
