"""The books that a reconciliation compares: a broker's own of one account, and ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from alphapanda.domain import ids
from alphapanda.domain.order import Product, Side
from alphapanda.portfolio.core.discrepancy import Unit


@dataclass(frozen=True, slots=True)
class BrokerTrade:
    """A trade, as the broker's day book has it.

    Attributes:
        order_id: the broker's id of its order.
        broker: our name of the broker.
        account: our name of the account.
        day: the day in India, YYYY-MM-DD.
        identity: of the trade within its day, such as "NSE:123".
        product: None: a product that isn't traded here, such as MTF.
        price: rupees.
    """

    order_id: str
    broker: str
    account: str
    day: str
    identity: str
    instrument_id: str
    product: Product | None
    side: Side
    quantity: int
    price: Decimal

    @property
    def units(self) -> int:
        """Signed units."""
        return self.side.sign * self.quantity

    @property
    def fill_id(self) -> str:
        """The id under which its fill is booked (REAL_MONEY rule 7)."""
        return ids.fill_id(self.broker, self.account, self.day, self.identity)

    def part_id(self, number: int) -> str:
        """The id of a further part (1, 2 …), where the trade is foreign and closes what several strategies hold."""
        return ids.fill_id(self.broker, self.account, self.day, f"{self.identity}/{number}")


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order in the broker's day book.

    Attributes:
        order_id: the broker's id.
        tags: what was given with it.
        filled: units.
        ended: whether nothing more can trade; a status that nobody knows hasn't ended.
        status: the broker's word.
        words: what it is, for people, such as "SELL 10 NSE:INFY CNC SL, trigger 1400".
    """

    order_id: str
    tags: frozenset[str]
    instrument_id: str
    filled: int
    ended: bool
    status: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class BrokerUnits:
    """Units that the broker holds: of a position, or of shares in the demat account as they were at the day's start.

    Attributes:
        known: whether the instrument is known here.
        isin: of shares; empty where the broker doesn't say.
        cost: rupees of the units, with their sign; None where the broker doesn't say.
    """

    instrument_id: str
    product: Product
    quantity: int
    known: bool = True
    isin: str = ""
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BrokerShares:
    """Shares in the demat account, and what of them can be sold today.

    Attributes:
        isin: empty where the broker doesn't say.
        settled: delivered and not sold today.
        authorised: of these, authorised for sale today.
        undelivered: bought on the day before.
    """

    instrument_id: str
    isin: str
    settled: int
    authorised: int
    undelivered: int


@dataclass(frozen=True, slots=True)
class BrokerMoney:
    """An account's money at the broker, rupees.

    Attributes:
        opening: cash at the start of the broker's day.
        cash: cash now.
        paid_in: of it, paid in today.
        available: what may still be spent; negative where margin is lacking.
        used: what positions and working orders block.
        collateral: worth of pledged shares that counts as margin.
    """

    opening: Decimal
    cash: Decimal
    paid_in: Decimal
    available: Decimal
    used: Decimal
    collateral: Decimal


@dataclass(frozen=True, slots=True)
class BrokerBooks:
    """A broker's books of one account.

    Attributes:
        day: the broker's day, of which orders and trades are.
        units: positions, and holdings.
        money: None where the broker doesn't keep it.
        not_compared: what is shown and never counted, one line each, such as MTF.
        waiting: orders that wait at the broker for a price, one line each.
        shares: in the demat account.
        sentences: differences that somebody else has found, such as trading in its own journal.
        is_own: whether orders, trades and units are the broker's own; otherwise only the sentences are.
    """

    day: date
    orders: Sequence[BrokerOrder] = ()
    trades: Sequence[BrokerTrade] = ()
    units: Sequence[BrokerUnits] = ()
    money: BrokerMoney | None = None
    not_compared: Sequence[str] = ()
    waiting: Sequence[str] = ()
    shares: Sequence[BrokerShares] = ()
    sentences: Sequence[str] = ()
    is_own: bool = True

    @property
    def size(self) -> int:
        """How many rows there are to compare."""
        return len(self.orders) + len(self.trades) + len(self.units)


@dataclass(frozen=True, slots=True)
class OurOrder:
    """An order of trading's, of the broker's day, or one that hasn't ended.

    Attributes:
        order_id: our id.
        tags: those of its calls.
        broker_ids: the broker's ids of its calls, as far as they are known.
        open_tags: tags of the calls that haven't ended.
        created_at: aware wall time.
    """

    order_id: str
    tags: tuple[str, ...]
    broker_ids: tuple[str, ...]
    open_tags: tuple[str, ...]
    instrument_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OurFill:
    """A fill that is booked, of the broker's day."""

    fill_id: str
    order_id: str
    instrument_id: str
    product: Product
    side: Side
    quantity: int
    price: Decimal

    @property
    def units(self) -> int:
        """Signed units."""
        return self.side.sign * self.quantity


@dataclass(frozen=True, slots=True)
class Held:
    """Units of all strategies together, and what they cost, rupees, with their sign."""

    quantity: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class OurBooks:
    """Our books of one account.

    Attributes:
        held: what is held, by instrument and product; flat ones too.
        fills: those of the broker's day.
        orders: those of the broker's day, and those that haven't ended.
        outside: what is known to be held outside, by instrument and product.
        isins: of shares, by instrument, as far as they were ever told.
        in_trading: what trading holds; None where it wasn't asked.
        opposed: units of strategies against which units stand that were traded elsewhere, and those, by instrument and product.
    """

    held: Mapping[Unit, Held] = field(default_factory=dict)
    fills: Sequence[OurFill] = ()
    orders: Sequence[OurOrder] = ()
    outside: Mapping[Unit, int] = field(default_factory=dict)
    isins: Mapping[str, str] = field(default_factory=dict)
    in_trading: Mapping[Unit, int] | None = None
    opposed: Mapping[Unit, tuple[int, int]] = field(default_factory=dict)

    @property
    def traded(self) -> Collection[str]:
        """The instruments that were ever traded here."""
        return {unit.instrument_id for unit in self.held}
