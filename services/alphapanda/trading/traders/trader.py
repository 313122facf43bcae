"""The interface to a broker.

NoClearAnswer      the broker may or may not have the order; only a look-up can tell
BrokerRefused      the broker has refused to modify or cancel; nothing was changed
NothingSent        the broker certainly doesn't have the order, and may get it later
BrokerIsOff        the broker isn't enabled; nothing was sent
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from typing_extensions import override

from alphapanda.domain.broker_books import BrokerBooks
from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import Product, Side
from alphapanda.domain.terms import Terms
from alphapanda.trading.core.escalation import Repriced
from alphapanda.trading.core.foreign import DayTrade


class ExecutionMode(Enum):
    """Where a broker's orders go: nowhere, to the paper exchange, or to a real exchange."""

    OFF = "off"
    PAPER = "paper"
    LIVE = "live"


class NoClearAnswer(Exception):
    """A call failed without an answer; the broker may or may not have executed it."""


class BrokerRefused(Exception):
    """The broker refused a call and has done nothing; its words say why."""


class NothingSent(Exception):
    """Nothing has come to be at the broker, and the same order may be sent later. Entries end; exits are decided again.

    Args:
        message: why, in one sentence.
        anew: whether an entry is decided again at once, too: what was refused is corrected then.

    Attributes:
        waits: whether an exit is decided again after a pause, because it waits for another order.
    """

    waits = False

    def __init__(self, message: str, *, anew: bool = False) -> None:
        self.anew = anew
        super().__init__(message)


class BrokerIsOff(Exception):
    """The broker isn't enabled. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The parameters of one broker call: `quantity` units (> 0), with a tag of at most 20 characters.

    The paper exchange alone is told: `came_at`, the aware market time since which it may fill it (None: the call's); the strategy
    and the number of the intent within its order, by which it draws slippage. A live broker is told whether it is an exit, and
    for one, by tag, the units that orders of ours on the same side may still trade: what it doesn't show of them may be working unseen.
    """

    account: str
    tag: str
    instrument: Instrument
    instrument_token: int
    side: Side
    quantity: int
    product: Product
    terms: Terms
    came_at: datetime | None = None
    strategy_id: str = ""
    number: int = 0
    is_exit: bool = False
    beside: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Modification:
    """The parameters of one call that modifies a working order: afterwards it has `quantity` units in all and these terms.

    `broker_order_id` and `tag` name the order at the broker; the order type stays as it was placed.
    """

    account: str
    tag: str
    broker_order_id: str
    instrument: Instrument
    side: Side
    quantity: int
    product: Product
    terms: Terms


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The parameters of one call that cancels what is left of a working order."""

    account: str
    tag: str
    broker_order_id: str


@dataclass(frozen=True, slots=True)
class Repricing:
    """The parameters of one step by which a resting market order goes further; `step` counts from 0."""

    account: str
    tag: str
    instrument: Instrument
    side: Side
    step: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account holds by the broker's own books, and its working orders.

    Attributes:
        held: units held, signed, by instrument id and product, of what was asked for.
        working: units that have filled and units that are left of each working order, by tag; read after what is held, so
            that a trade of an order in between never makes it look larger than what is held.
    """

    held: Mapping[tuple[str, Product], int] = field(default_factory=dict)
    working: Mapping[str, tuple[int, int]] = field(default_factory=dict)


Changed = Callable[[str, str], None]
"""Told of an account and a tag whose order at the broker may have changed; it is a hint to look it up, and never blocks."""


class Trader(ABC):
    """Sends orders to one broker and looks them up.

    Attributes:
        broker: the broker's name.
        visibility_window: seconds within which the broker shows an order, from the latest time the call could reach it.
        least_look_ups: look-ups that it must have answered without the order before it counts as absent.
        forgets_daily: whether its order book begins anew each day in India, so that absence says nothing of earlier orders.
    """

    broker: str
    visibility_window: float
    least_look_ups: int = 1
    forgets_daily: bool = False

    @abstractmethod
    def get_execution_mode(self) -> ExecutionMode:
        """Where the broker's orders go. It is read once `initialize` has returned."""

    @property
    def not_ready(self) -> str:
        """Why the broker gets no orders now, in one line; empty where it does. IsolatedTrader says it for every trader."""
        return ""

    def not_ready_for(self, account: str) -> str:  # noqa: ARG002 - of brokers whose accounts differ
        """Why an account gets no orders now, in one line; empty where it does. Its entries end, its exits wait."""
        return self.not_ready

    def entries_halted(self, account: str) -> str:  # noqa: ARG002 - of brokers whose accounts differ
        """Why an account gets no entries now, in one line, though exits are sent; empty where it gets them."""
        return ""

    @property
    def problem(self) -> str:
        """What a person should know of the broker, in one line; empty where nothing is wrong."""
        return ""

    def freeze_quantity(self, instrument: Instrument) -> int:
        """Most units of one order, as far as is known; 0 if no limit is."""
        return instrument.freeze_quantity

    @property
    def tells_of_fills(self) -> bool:
        """Whether it makes trading drive an order that it has accepted and that changes later, so that nobody looks it up."""
        return False

    @abstractmethod
    async def initialize(self) -> None:
        """Connects to the broker. It is called at the start, and again after each failure, until it returns.

        Until then the broker's entries fail and its exits wait; `look_up` may be called. Any exception is a failure.
        """

    @abstractmethod
    async def shutdown(self) -> None:
        """Releases connections. It is called once at the end, whether or not `initialize` returned."""

    @abstractmethod
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        """Sends an order once and returns its state at the broker. It is never called twice for one tag.

        Raises:
            NoClearAnswer: the broker may or may not have received the order.
            NothingSent: it certainly has not, and may get it later.
        """

    @abstractmethod
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        """The order with a tag, in its present state; None if the broker shows none.

        Raises:
            NoClearAnswer: the broker can't be asked now.
        """

    async def modify_order(self, modification: Modification) -> BrokerOrder:
        """Modifies a working order by one call, and returns its state at the broker.

        Raises:
            BrokerRefused: nothing was changed.
            NoClearAnswer: the broker may or may not have changed it.
        """
        raise BrokerRefused(
            f"broker {self.broker!r} doesn't modify orders, {modification.tag} stays as it is"
        )

    async def cancel_order(self, cancellation: Cancellation) -> BrokerOrder:
        """Cancels what is left of a working order by one call, and returns its state at the broker.

        Raises:
            BrokerRefused: nothing was changed; an order that has ended already is looked up.
            NoClearAnswer: the broker may or may not have cancelled it.
        """
        raise BrokerRefused(f"broker {self.broker!r} doesn't cancel orders, {cancellation.tag} stays")

    async def reprice(self, repricing: Repricing) -> Repriced | None:
        """Moves the limit of a market order that rests further from the last price; None: it has ended meanwhile.

        Repeating it does no more: it is judged by the price that the order has.

        Raises:
            BrokerRefused: nothing was changed.
            NoClearAnswer: the broker may or may not have changed it.
        """
        raise BrokerRefused(f"broker {self.broker!r} doesn't reprice orders, {repricing.tag} stays as it is")

    def follow(self, changed: Changed) -> None:  # noqa: B027 - a broker may have nothing to tell
        """Sets whom the trader tells of orders that may have changed. It is called once, before `initialize`."""

    async def day_trades(self) -> Sequence[DayTrade]:
        """All trades in the broker's books of today, whoever's orders made them; of accounts that can't be asked now none.

        Raises:
            NoClearAnswer: the broker can't be asked now.
        """
        return ()

    async def standing(
        self,
        account: str,  # noqa: ARG002 - of brokers that tell it
        wanted: Collection[tuple[Instrument, Product]],  # noqa: ARG002
    ) -> Standing | None:
        """What an account holds of these by the broker's own books, and its working orders; None if the broker doesn't tell it.

        Raises:
            NoClearAnswer: the broker can't be asked now.
        """
        return None

    async def books(self) -> BrokerBooks | None:
        """The broker's own orders, positions and cash; None if it doesn't tell them, and a person has to compare them.

        Raises:
            NoClearAnswer: the broker can't be asked now.
        """
        return None


class OffTrader(Trader):
    """The trader of a broker that is active but not enabled."""

    visibility_window = 0.0

    def __init__(self, broker: str) -> None:
        self.broker = broker

    @override
    def get_execution_mode(self) -> ExecutionMode:
        return ExecutionMode.OFF

    @override
    async def initialize(self) -> None:
        """Does nothing."""

    @override
    async def shutdown(self) -> None:
        """Does nothing."""

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        """Raises BrokerIsOff."""
        raise BrokerIsOff(f"broker {self.broker!r} is off; {placement.tag} was not sent")

    @override
    async def books(self) -> BrokerBooks:
        """Empty books: nothing is sent there."""
        return BrokerBooks({}, {}, {})

    @override
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        """Raises NoClearAnswer: the broker can't be asked."""
        raise NoClearAnswer(f"broker {self.broker!r} is off; {tag} of {account!r} can't be looked up")
