"""Converts books to the contract's messages. Amounts that are whole paise have two decimals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from zoneinfo import ZoneInfo

from google.type.decimal_pb2 import Decimal as WireDecimal

from alphapanda.contract import wire
from alphapanda.contract.charges_wire import charge_lines
from alphapanda.domain.funds import AccountFunds, margin_of
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.margin import MarginModel
from alphapanda.domain.market import LastPrice
from alphapanda.domain.money import CURRENCY, ZERO, to_paisa
from alphapanda.portfolio.core.profit import Profit, ValuedPosition, statement
from alphapanda.portfolio.store.port import AccountBooks, BookedFill, LedgerLine
from panda.common.v1 import common_pb2 as common
from panda.portfolio.v1 import portfolio_pb2 as portfolio

POSITIONS_IN_PORTFOLIO = 100
IST = ZoneInfo("Asia/Kolkata")


def decimal(amount: Decimal | None) -> WireDecimal | None:
    """An exact number, with two decimals if it is whole paise; None stays absent."""
    if amount is None:
        return None
    rounded = to_paisa(amount)
    # Adding zero turns -0 into 0.
    return wire.decimal((rounded if rounded == amount else amount) + 0)


def money(amount: Decimal | None) -> common.Money | None:
    """Rupees; None stays absent."""
    return None if amount is None else common.Money(currency_code=CURRENCY, amount=decimal(amount))


class PortfolioMessages:
    """Makes the messages. An instrument that is no longer listed appears by its instrument_id.

    Args:
        directory: the instruments of today.
        margins: the margin model, by simulated broker.
    """

    def __init__(
        self,
        directory: Callable[[], InstrumentDirectory],
        margins: Mapping[str, MarginModel] = MappingProxyType({}),
    ) -> None:
        self._directory = directory
        self._margins = margins

    def account(self, books: AccountBooks, prices: Mapping[str, LastPrice]) -> portfolio.Portfolio:
        """An account, valued at the given last prices (by instrument_id)."""
        valued = statement(
            books.cash, books.strategies, books.positions, {name: last.price for name, last in prices.items()}
        )
        held = valued.positions
        marked = [
            prices[line.position.key.instrument_id].traded_at
            for line in held
            if line.position.key.instrument_id in prices
        ]
        at = max(marked, default=None)
        funds = self._funds(books, date.max if at is None else at.astimezone(IST).date())
        return portfolio.Portfolio(
            broker=books.name.broker,
            account=books.name.account,
            starting_cash=money(books.starting_cash),
            cash=money(books.cash),
            equity=money(valued.equity),
            profit=_profit(valued.profit),
            strategies=[
                portfolio.StrategyProfit(
                    strategy_id=line.strategy_id,
                    profit=_profit(line.profit),
                    open_positions=line.open_positions,
                )
                for line in valued.strategies
            ],
            positions=[self.position(line) for line in held[:POSITIONS_IN_PORTFOLIO]],
            marked_at=wire.timestamp(at),
            without_price=valued.without_price,
            revision=books.revision,
            used_margin=None if funds is None else money(funds.margin),
            available=None if funds is None else money(funds.available),
            day_charges=money(books.day_charges or None),
            changed_at=wire.timestamp(books.changed_at),
        )

    def _funds(self, books: AccountBooks, day: date) -> AccountFunds | None:
        """The account's funds, without what open orders block; None at a live broker.

        As for risk, charges are those that fills carry, without what a day's contract note makes of them.
        """
        margins = self._margins.get(books.name.broker)
        if margins is None:
            return None
        positions, instruments = books.positions, self._directory()
        cost = sum((held.cost for held in positions), ZERO)
        margin = sum((margin_of(held, margins, instruments, day) for held in positions), ZERO)
        realised = books.cash + cost + books.day_charges - books.starting_cash
        return AccountFunds(books.starting_cash, realised, margin)

    @staticmethod
    def add_day(answer: portfolio.Portfolio, day: date | None, base: Decimal | None) -> None:
        """Adds the trading day and its P&L: equity now less `base`, the equity at the day's start. Unknown stays absent."""
        if day is None:
            return
        answer.trading_day = day.isoformat()
        if base is not None and answer.HasField("equity"):
            profit = wire.exact(answer.equity.amount) - base
            answer.day_pnl.MergeFrom(common.Money(currency_code=CURRENCY, amount=decimal(profit)))

    def position(self, line: ValuedPosition) -> portfolio.Position:
        """A position at its last price."""
        held = line.position
        return portfolio.Position(
            broker=held.key.broker,
            account=held.key.account,
            strategy_id=held.key.strategy_id,
            instrument_id=held.key.instrument_id,
            symbol=self._symbol(held.key.instrument_id),
            product=common.Product.ValueType(held.key.product),
            quantity=held.quantity,
            average_price=wire.decimal(held.average_price),
            last_price=decimal(line.last_price),
            profit=_profit(line.profit),
            changed_at=wire.timestamp(held.changed_at),
        )

    def fill(self, fill: BookedFill) -> portfolio.Fill:
        """A fill as booked."""
        return portfolio.Fill(
            fill_id=fill.fill_id,
            order_id=fill.order_id,
            broker=fill.key.broker,
            account=fill.key.account,
            strategy_id=fill.key.strategy_id,
            instrument_id=fill.key.instrument_id,
            symbol=self._symbol(fill.key.instrument_id),
            side=common.Side.ValueType(fill.side),
            quantity=fill.quantity,
            price=decimal(fill.price),
            commission=money(fill.paid),
            realised_pnl=money(fill.realised),
            traded_at=wire.timestamp(fill.traded_at),
            correlation_id=fill.correlation_id,
            product=common.Product.ValueType(fill.key.product),
            revision=fill.revision,
            charge_lines=charge_lines(fill.charges.lines),
        )

    @staticmethod
    def entry(line: LedgerLine) -> portfolio.LedgerEntry:
        """A line of the ledger."""
        return portfolio.LedgerEntry(
            entry_id=line.entry_id,
            transaction_id=line.transaction_id,
            sequence=line.sequence,
            broker=line.name.broker,
            account=line.name.account,
            strategy_id=line.strategy_id,
            ledger_account=portfolio.LedgerAccount.ValueType(line.ledger_account),
            amount=money(line.amount),
            instrument_id=line.instrument_id,
            fill_id=line.fill_id,
            market_time=wire.timestamp(line.market_time),
            charge_lines=charge_lines(line.charges.lines),
            booked_at=wire.timestamp(line.booked_at),
        )

    def _symbol(self, instrument_id: str) -> str:
        instrument = self._directory().by_id(instrument_id)
        return instrument.symbol if instrument else instrument_id


def _profit(profit: Profit) -> portfolio.Profit:
    return portfolio.Profit(
        realised_pnl=money(profit.realised),
        unrealised_pnl=money(profit.unrealised),
        charges=money(profit.charges),
        net_pnl=money(profit.net),
        charge_lines=charge_lines(profit.lines.lines),
    )
