"""Trading without a shell, for replay: an approved signal becomes an order and fills in one call.

The order, the checks and the fill model are the ones the shell uses.
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
from alphapanda.trading.core.checks import Circumstances, NotSent, PreSubmitChecks
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.paper_book import PaperBook


class SynchronousTrading:
    """Executes approved signals at paper exchanges in memory.

    Args:
        checks: the checks before sending.
        instruments: what can be traded.
        books: the paper exchange of each broker.
    """

    def __init__(
        self, checks: PreSubmitChecks, instruments: InstrumentDirectory, books: Mapping[str, PaperBook]
    ) -> None:
        self._checks = checks
        self._instruments = instruments
        self._books = books
        self._positions: defaultdict[PositionKey, int] = defaultdict(int)

    def execute(self, verdict: Approved, market: MarketView, causation_id: str = "") -> list[OrderUpdate]:
        """Everything that happens to the signal's order, in order; the last is terminal."""
        key = verdict.key
        order = Order.approved(verdict, causation_id, (verdict.quantity,))
        position = self._positions[key]
        instrument = self._instruments.by_id(key.instrument_id)
        at = Circumstances(instrument, market, position, TradingState.ACTIVE, True)  # noqa: FBT003 - simulated
        decision = self._checks.judge(order, at)
        if isinstance(decision, NotSent):
            return order.not_sent(decision.reason, decision.message, market.market_time)
        order.send_as(decision.parts)
        book = self._books[key.broker]
        updates: list[OrderUpdate] = []
        while not order.status.is_final:
            intent = order.submitting(0)
            told = book.place(key.account, verdict.instrument_token, verdict.side, intent.quantity, market)
            updates += order.report(intent, told, market.market_time)
        self._positions[key] = position + verdict.side.sign * order.filled
        return updates
