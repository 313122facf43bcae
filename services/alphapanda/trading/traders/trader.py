"""What a broker looks like to trading.

NoClearAnswer      the broker may or may not have the order: only look-up tells
BrokerIsOff        nothing may be sent there; nothing was
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum

from typing_extensions import override

from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderType, Product, Side
from alphapanda.trading.core.broker_order import BrokerOrder


class ExecutionMode(Enum):
    """What becomes of an order."""

    OFF = "off"
    PAPER = "paper"
    LIVE = "live"


class NoClearAnswer(Exception):
    """A call broke off, so the broker may or may not have done it."""


class BrokerIsOff(Exception):
    """The broker isn't enabled. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One broker call: `quantity` units (> 0) under a tag of at most 20 characters."""

    account: str
    tag: str
    instrument: Instrument
    instrument_token: int
    side: Side
    quantity: int
    product: Product
    order_type: OrderType


class Trader(ABC):
    """One broker.

    Attributes:
        broker: its name.
        visibility_window: seconds after a call could last have reached the broker, within which it shows the order.
    """

    broker: str
    visibility_window: float

    @abstractmethod
    def get_execution_mode(self) -> ExecutionMode:
        """What becomes of an order now."""

    @abstractmethod
    async def initialize(self) -> None:
        """Makes it ready."""

    @abstractmethod
    async def shutdown(self) -> None:
        """Lets go of what it holds."""

    @abstractmethod
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        """Sends an order once and says how it stands. Never called twice for one tag.

        Raises:
            NoClearAnswer: it may or may not have arrived.
        """

    @abstractmethod
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        """The order under a tag as it stands; None where the broker shows none.

        Raises:
            NoClearAnswer: the broker can't be asked now.
        """


class OffTrader(Trader):
    """Stands for a broker that is active but not enabled."""

    visibility_window = 0.0

    def __init__(self, broker: str) -> None:
        self.broker = broker

    @override
    def get_execution_mode(self) -> ExecutionMode:
        """Off."""
        return ExecutionMode.OFF

    @override
    async def initialize(self) -> None:
        """Nothing to do."""

    @override
    async def shutdown(self) -> None:
        """Nothing to do."""

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        """Refuses."""
        raise BrokerIsOff(f"broker {self.broker!r} is off; {placement.tag} was not sent")

    @override
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        """Can't be asked."""
        raise NoClearAnswer(f"broker {self.broker!r} is off; {tag} of {account!r} can't be looked up")
