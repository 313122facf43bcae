"""Trading for replay, without I/O: an approved signal becomes an order with its fills in one call.

The order, the checks and the fill model are those of the running service.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import TradingState
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.verdict import Approved
from alphapanda.trading.core.checks import CheckInputs, NotSent, PreSubmitChecks
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.paper_book import PaperBook


class SynchronousTrading:
    """Executes approved signals at paper exchanges in memory.

    Args:
        checks: the checks before sending.
        instruments: what can be traded.
        books: the in-memory paper exchange of each broker, by name.
    """

    def __init__(
        self, checks: PreSubmitChecks, instruments: InstrumentDirectory, books: Mapping[str, PaperBook]
    ) -> None:
        self._checks = checks
        self._instruments = instruments
        self._books = books
        self._positions: defaultdict[PositionKey, int] = defaultdict(int)

    def execute(self, verdict: Approved, market: MarketView, causation_id: str = "") -> list[OrderUpdate]:
        """The updates of the signal's order, oldest first; the last one is terminal."""
        key = verdict.key
        order = Order.approved(verdict, causation_id, (verdict.quantity,))
        position = self._positions[key]
        instrument = self._instruments.by_id(key.instrument_id)
        at = CheckInputs(instrument, market, position, TradingState.ACTIVE, True)  # noqa: FBT003 - simulated
        decision = self._checks.judge(order, at)
        if isinstance(decision, NotSent):
            return order.not_sent(decision.reason, decision.message, market.market_time)
        order.send_as(decision.parts)
        book = self._books[key.broker]
        updates: list[OrderUpdate] = []
        while not order.status.is_final:
            intent = order.submitting(0)
            report = book.place(key.account, verdict.instrument_token, verdict.side, intent.quantity, market)
            updates += order.report(intent, report, market.market_time)
        self._positions[key] = position + verdict.side.sign * order.filled
        return updates
