"""Brokers by name: what each is, and how its trader is built."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from alphapanda.domain.brokers import checked_broker
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.trading.paper_exchange import PaperExchange
from alphapanda.trading.traders.trader import OffTrader, Trader


@dataclass(frozen=True, slots=True)
class TraderParts:
    """What traders are built of.

    Attributes:
        paper_exchange: the paper exchange.
        paper_visibility_window: seconds within which it shows an order that it has.
    """

    paper_exchange: PaperExchange
    paper_visibility_window: float


@dataclass(frozen=True, slots=True)
class BrokerRegistration:
    """One broker: its name, whether its orders reach a real exchange, and how its trader is built."""

    name: str
    live: bool
    build: Callable[[TraderParts], Trader]


class BrokerRegistry:
    """The registered brokers.

    Args:
        registrations: normally `traders.BROKERS`.

    Raises:
        InvalidInput: a name is not a broker's name, or is registered twice.
    """

    def __init__(self, registrations: Iterable[BrokerRegistration]) -> None:
        self._registrations: dict[str, BrokerRegistration] = {}
        for registration in registrations:
            name = checked_broker(registration.name)
            if name in self._registrations:
                raise InvalidInput("broker", name, "a broker is registered once")
            self._registrations[name] = registration

    def live(self, active: Iterable[str]) -> tuple[str, ...]:
        """Those of the active brokers whose orders reach a real exchange.

        Raises:
            UnknownName: one isn't registered.
        """
        return tuple(name for name in active if self._require(name).live)

    def traders(
        self, active: Iterable[str], enabled: Collection[str], parts: TraderParts
    ) -> Mapping[str, Trader]:
        """A trader for every active broker; what isn't enabled gets one that is off, and nothing of it is built.

        Raises:
            UnknownName: an active broker isn't registered.
            InvalidInput: an enabled one can't be built.
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
