"""Trades at Zerodha: places each order once, under the intent's tag, and tells what became of it by reading, never by assuming.

A call's outcome is what `kite.outcomes` makes of it: only a refusal that is listed there is final, all else is looked up (REAL_MONEY
rule 1). What certainly isn't at the broker and may get there later (no session, no connection, no turn) is NothingSent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

import structlog
from msgspec import structs
from typing_extensions import override

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderType, Product
from alphapanda.domain.order_events import Fill
from alphapanda.domain.terms import HAS_LIMIT, HAS_TRIGGER, Terms
from alphapanda.kite.limiter import CallKind
from alphapanda.kite.options import ORDER_MARGIN_SECONDS
from alphapanda.kite.order_rows import KiteTrade, UnreadableRow
from alphapanda.kite.orders import REGULAR, KiteOrders, TracedOrder
from alphapanda.kite.outcomes import KiteError, KiteReason, KiteRefused, KiteUnknown
from alphapanda.kite.session import NoSession
from alphapanda.resilience.failures import in_one_line
from alphapanda.trading.core.entry_halt import EntryHalt, Pause
from alphapanda.trading.core.escalation import Repriced, escalated_price, goes_as_far
from alphapanda.trading.core.foreign import DayTrade
from alphapanda.trading.traders.kite_calls import Confirmed, changed_by, day_range
from alphapanda.trading.traders.kite_exits import ExitRoom, OnItsWayOut, standing_at
from alphapanda.trading.traders.kite_parts import ZerodhaParts
from alphapanda.trading.traders.kite_reports import KITE_TYPES, day_trades_of, fills_of, report_of, terms_of
from alphapanda.trading.traders.trader import (
    BrokerRefused,
    Cancellation,
    Changed,
    ExecutionMode,
    Modification,
    NoClearAnswer,
    NothingSent,
    Placement,
    Repricing,
    Standing,
    Trader,
)

LARGEST_ORDER: Final = 100_000
"""Units that Zerodha takes in one order, whatever the exchange takes (KITE_FACTS section 10, 7)."""

_LATER: Final = frozenset(
    {
        KiteReason.UNREACHABLE,
        KiteReason.RATE_LIMITED,
        KiteReason.DAY_USED_UP,
        KiteReason.SESSION_DEAD,
        KiteReason.SOURCE_ADDRESS,
    }
)
"""Refusals of what may be sent later: they are about the way to Zerodha, not about the order."""
NOTHING_HELD: Final = "the broker holds nothing of it that isn't on its way out already: it was closed elsewhere, or never opened"
UNREAD_SECONDS: Final = 2.0
"""Longest pause after positions could not be read."""
MOST_MADE: Final = 10_000
"""Orders whose fills are remembered with their charges."""
STALE_SECONDS: Final = 10.0
"""After a modification was taken, the order book may show the order as it was before for so long."""
_log = structlog.get_logger(__name__)


class ZerodhaTrader(Trader):
    """A trader whose orders go to Zerodha.

    Args:
        broker: the broker's name.
        parts: what it is built with.
    """

    forgets_daily = True

    def __init__(self, broker: str, parts: ZerodhaParts) -> None:
        self.broker = broker
        self._options = parts.options
        self.visibility_window = parts.options.visibility_seconds + ORDER_MARGIN_SECONDS
        self.least_look_ups = parts.options.least_look_ups
        self._charges = parts.charges
        self._monotonic = parts.monotonic
        self._updates = parts.updates
        self._orders = {account: KiteOrders(rest) for account, rest in parts.rest.items()}
        self._halts = {account: EntryHalt(parts.options.halt_after) for account in parts.rest}
        self._pauses = {account: Pause() for account in parts.rest}
        self._rooms = {account: ExitRoom(orders) for account, orders in self._orders.items()}
        self._confirmed: dict[str, Confirmed] = {}
        self._made: dict[str, tuple[tuple[KiteTrade, ...], list[Fill]]] = {}
        self._freeze: dict[str, int] = {}
        self._halted_in: dict[str, str] = {}
        self._instruments = parts.instruments

    @override
    def get_execution_mode(self) -> ExecutionMode:
        return ExecutionMode.LIVE

    @override
    async def initialize(self) -> None:
        """Begins to listen to order updates. Who isn't signed in gets no orders, and a call tells whether Zerodha is there."""
        for updates in self._updates.values():
            updates.start()

    @override
    async def shutdown(self) -> None:
        """Stops listening; who built the HTTP API ends it."""
        for updates in self._updates.values():
            await updates.stop()

    @override
    def follow(self, changed: Changed) -> None:
        for account, updates in self._updates.items():
            updates.told = partial(_hint, changed, account)

    @override
    def not_ready_for(self, account: str) -> str:
        orders = self._orders.get(account)
        if orders is None:
            return f"account {account!r} isn't one of those at Zerodha ({', '.join(self._orders) or 'none'})"
        try:
            orders.rest.session.require()
        except NoSession as nobody:
            return str(nobody)
        return self._pauses[account].reason(self._monotonic())

    @override
    def entries_halted(self, account: str) -> str:
        halt = self._halts.get(account)
        if halt is None or not halt.reason:
            return ""
        if self._orders[account].rest.session.newest.session_id != self._halted_in.get(account):
            halt.answered()  # somebody has signed in since, who has seen why
        return halt.reason

    @property
    @override
    def problem(self) -> str:
        return "; ".join(halt.reason for halt in self._halts.values() if halt.reason)

    @override
    def freeze_quantity(self, instrument: Instrument) -> int:
        known = [instrument.freeze_quantity, self._freeze.get(instrument.instrument_id, 0), LARGEST_ORDER]
        return min(limit for limit in known if limit)

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        account = placement.account
        orders = self._orders.get(account)
        if orders is None:
            return BrokerOrder("", BrokerOrderStatus.REJECTED, message=self.not_ready_for(account))
        kind, quantity = CallKind.ENTRY, placement.quantity
        if placement.is_exit:
            kind = CallKind.EXIT
            try:
                quantity = await self._rooms[account].units(placement)
            except OnItsWayOut:
                raise
            except NothingSent as unread:
                self._pauses[account].begin(self._monotonic(), str(unread), UNREAD_SECONDS)
                raise
            if not quantity:
                return BrokerOrder("", BrokerOrderStatus.REJECTED, message=NOTHING_HELD)
        try:
            order_id = await orders.place(kind, **self._terms(placement, quantity))
        except NoSession as nobody:
            raise NothingSent(str(nobody)) from nobody
        except KiteRefused as refused:
            return self._refused(placement, refused)
        except KiteUnknown as unknown:
            self._unknown(account, unknown)
            raise NoClearAnswer(in_one_line(unknown)) from unknown
        self._halts[account].answered()
        self._pauses[account].over()
        return BrokerOrder(order_id, BrokerOrderStatus.OPEN)

    @override
    async def modify_order(self, modification: Modification) -> BrokerOrder:
        terms, tag = modification.terms, modification.tag
        orders, order_id = await self._at_the_broker(modification.account, tag, modification.broker_order_id)
        changes = self._priced(modification.quantity, terms)
        if terms.order_type is OrderType.MARKET:  # a limit order by now, at the price of its protection
            changes = {"quantity": modification.quantity}
        kind = CallKind.EXIT if terms.order_type in HAS_TRIGGER else CallKind.ENTRY
        await changed_by(orders.rest.modify_order(kind, variety=REGULAR, order_id=order_id, **changes))
        self._confirmed[tag] = Confirmed(modification.quantity, terms, self._monotonic())
        return await self._afterwards(modification.account, tag, order_id)

    @override
    async def cancel_order(self, cancellation: Cancellation) -> BrokerOrder:
        account, tag = cancellation.account, cancellation.tag
        orders, order_id = await self._at_the_broker(account, tag, cancellation.broker_order_id)
        await changed_by(orders.rest.cancel_order(REGULAR, order_id))
        return await self._afterwards(account, tag, order_id)

    @override
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        found = await self._found(account, tag)
        if found is None:
            return None
        return report_of(found, self._fills(account, found), shows_terms=self._shows_terms(tag, found))

    @override
    async def reprice(self, repricing: Repricing) -> Repriced | None:
        found = await self._found(repricing.account, repricing.tag)
        if found is None or found.order.ended:
            return None
        order, rest = found.order, self._orders[repricing.account].rest
        day = await day_range(rest, order.symbol)
        side, percents = repricing.side, self._options.escalation_percents
        price = escalated_price(side, day, repricing.instrument.tick_size, percents, repricing.step)
        if goes_as_far(side, order.price, price):
            return Repriced(order.price, locked=repricing.step >= len(percents))
        await changed_by(
            rest.modify_order(
                CallKind.EXIT,
                variety=REGULAR,
                order_id=order.order_id,
                order_type=KITE_TYPES[OrderType.LIMIT],
                price=str(price),
            )
        )
        return Repriced(price)

    @override
    async def day_trades(self) -> Sequence[DayTrade]:
        found: list[DayTrade] = []
        for account, orders in self._orders.items():
            if orders.rest.session.newest.access_token is None:
                continue
            try:
                book = await orders.book()
            except (KiteError, NoSession, UnreadableRow) as unanswered:
                raise NoClearAnswer(in_one_line(unanswered)) from unanswered
            for one in book:
                found += day_trades_of(account, one, self._fills(account, one))
        return found

    @override
    async def standing(self, account: str, wanted: Collection[tuple[Instrument, Product]]) -> Standing | None:
        orders = self._orders.get(account)
        return await standing_at(orders, wanted) if orders else None

    async def _at_the_broker(self, account: str, tag: str, order_id: str) -> tuple[KiteOrders, str]:
        """The account's orders, and Zerodha's id of one of them; without it, it is looked up.

        Raises:
            BrokerRefused: there is no such order, or nobody is signed in.
            NoClearAnswer: Zerodha can't be asked now.
        """
        orders = self._orders.get(account)
        if orders is None:
            raise BrokerRefused(self.not_ready_for(account))
        if not order_id:
            found = await self._found(account, tag)
            if found is None:
                raise BrokerRefused(f"Zerodha shows no order {tag}")
            order_id = found.order.order_id
        return orders, order_id

    async def _afterwards(self, account: str, tag: str, order_id: str) -> BrokerOrder:
        """The order's state after a change that was taken, as far as Zerodha tells it already."""
        confirmed = self._confirmed.get(tag)
        try:
            report = await self.look_up(account, tag)
        except NoClearAnswer:
            report = None
        report = report or BrokerOrder(order_id, BrokerOrderStatus.OPEN)
        if confirmed is None or report.quantity or report.status is not BrokerOrderStatus.OPEN:
            return report
        return structs.replace(report, quantity=confirmed.quantity, terms=confirmed.terms)

    def _shows_terms(self, tag: str, found: TracedOrder) -> bool:
        """Whether the terms that Zerodha shows are as new as the last modification that it has taken."""
        confirmed = self._confirmed.get(tag)
        if confirmed is None:
            return True
        order = found.order
        shown = terms_of(order)
        as_wanted = order.quantity == confirmed.quantity and shown in {None, confirmed.terms}
        if as_wanted or order.ended or self._monotonic() - confirmed.at > STALE_SECONDS:
            del self._confirmed[tag]
            return True
        return False

    def _unknown(self, account: str, unknown: KiteUnknown) -> None:
        if unknown.is_unlisted and self._halts[account].refused(unknown.failure.message):
            self._halted(account)

    async def _found(self, account: str, tag: str) -> TracedOrder | None:
        orders = self._orders.get(account)
        if orders is None:
            raise NoClearAnswer(self.not_ready_for(account))
        try:
            found = await orders.by_tag(tag)
        except (KiteError, NoSession, UnreadableRow) as unanswered:
            raise NoClearAnswer(in_one_line(unanswered)) from unanswered
        if tag in orders.twice:
            _log.error("order.tag_twice", alarm=True, broker=self.broker, account=account, tag=tag)
        return found

    def _fills(self, account: str, found: TracedOrder) -> list[Fill]:
        order_id = found.order.order_id
        trades, fills = self._made.get(order_id, ((), []))
        if trades != found.trades:
            instrument = self._instruments().by_symbol(found.order.symbol)
            fills = fills_of(self.broker, account, found, instrument, self._charges)
            if len(self._made) >= MOST_MADE:
                self._made.clear()
            self._made[order_id] = (found.trades, fills)
        return fills

    def _terms(self, placement: Placement, quantity: int) -> dict[str, Any]:
        """The arguments of kiteconnect's `place_order`."""
        return {
            "exchange": placement.instrument.exchange,
            "tradingsymbol": placement.instrument.tradingsymbol,
            "transaction_type": placement.side.name,
            "product": placement.product.name,
            "tag": placement.tag,
            **self._priced(quantity, placement.terms),
        }

    def _priced(self, quantity: int, terms: Terms) -> dict[str, Any]:
        """The arguments for quantity and terms; what may trade at the market always has market protection."""
        protected = terms.order_type not in HAS_LIMIT
        return {
            "quantity": quantity,
            "order_type": KITE_TYPES[terms.order_type],
            "validity": terms.validity.name,
            "price": None if terms.limit_price is None else str(terms.limit_price),
            "trigger_price": None if terms.trigger_price is None else str(terms.trigger_price),
            "market_protection": str(self._options.market_protection) if protected else None,
        }

    def _refused(self, placement: Placement, refused: KiteRefused) -> BrokerOrder:
        """What a definite refusal means for an order.

        Raises:
            NothingSent: it may be sent later, or at once in smaller slices.
        """
        account, words = placement.account, in_one_line(refused)
        if refused.reason in _LATER:
            if refused.reason is KiteReason.SOURCE_ADDRESS and self._halts[account].at_once(words):
                self._halted(account)
            self._pauses[account].begin(self._monotonic(), words)
            raise NothingSent(words)
        self._halts[account].answered()
        limit = refused.limit
        if refused.reason is KiteReason.FREEZE_QUANTITY and limit and limit < placement.quantity:
            self._freeze[placement.instrument.instrument_id] = limit
            _log.warning(
                "broker.freeze_quantity_learned",
                broker=self.broker,
                instrument_id=placement.instrument.instrument_id,
                freeze_quantity=limit,
            )
            raise NothingSent(words, anew=True)
        if refused.reason is KiteReason.NEEDS_DEPOSITORY:
            _log.error(
                "order.needs_authorisation",
                alarm=True,
                broker=self.broker,
                account=account,
                strategy_id=placement.strategy_id,
                instrument_id=placement.instrument.instrument_id,
                message="sell authorisation (TPIN) at the depository is missing; the exit isn't sent again by itself",
            )
        unpaid = refused.reason is KiteReason.INSUFFICIENT_FUNDS
        status = BrokerOrderStatus.UNPAID if unpaid else BrokerOrderStatus.REJECTED
        return BrokerOrder("", status, message=refused.failure.message or words)

    def _halted(self, account: str) -> None:
        self._halted_in[account] = self._orders[account].rest.session.newest.session_id
        _log.error(
            "broker.entries_halted",
            alarm=True,
            broker=self.broker,
            account=account,
            reason=self._halts[account].reason,
        )


def _hint(changed: Changed, account: str, tag: str) -> None:
    if tag:
        changed(account, tag)
