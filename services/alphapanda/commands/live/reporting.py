"""The view without a terminal: changes as plain lines, or the whole view as one JSON object."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from alphapanda.commands.live.picture import plain_figures
from alphapanda.commands.live.view import View
from alphapanda.commands.order_tables import filled, why_ended
from alphapanda.commands.status_tables import alarms
from alphapanda.commands.wording import amount, market_moment, rupees, shown_time, word
from alphapanda.domain.order import OrderStatus
from panda.risk.v1.risk_pb2 import Verdict
from panda.trading.v1.trading_pb2 import Order

FIGURES_EVERY: Final = 15.0


class Reporter:
    """Reports each event once: ended orders, rejections, sources that stopped answering, alarms; the figures at an interval."""

    def __init__(self) -> None:
        self._reported: frozenset[str] = frozenset()
        self._refused: frozenset[str] | None = None
        self._troubles: dict[str, str] = {}
        self._raised: list[str] = []
        self._figures_at: float | None = None
        self._began = False

    def lines(self, view: View, now: float) -> list[str]:
        """Lines for what is new since the last call; orders that had ended before the first call are not reported."""
        lines = [*self._connections(view), *self._alarms(view), *self._ended(view), *self._refusals(view)]
        if view.portfolio and (self._figures_at is None or now - self._figures_at >= FIGURES_EVERY):
            self._figures_at = now
            lines.append(plain_figures(view))
        return lines

    def _connections(self, view: View) -> list[str]:
        troubles = {name: trouble.why for name, trouble in view.troubles.items()}
        lost = [f"{name}: {why}" for name, why in troubles.items() if name not in self._troubles]
        back = [f"{name}: answers again" for name in self._troubles if name not in troubles]
        self._troubles = troubles
        return lost + back

    def _alarms(self, view: View) -> list[str]:
        if view.status is None:
            return []
        before, self._raised = self._raised, alarms(view.status)
        # A lag changes with each look: an alarm is known by what it is about, which stands before its figure.
        known = {text.partition(" ")[0] for text in before}
        return [f"ALARM {text}" for text in self._raised if text.partition(" ")[0] not in known]

    def _ended(self, view: View) -> list[str]:
        ended = [one for one in reversed(view.orders) if OrderStatus(one.state.status).is_final]
        new = [one for one in ended if one.state.order_id not in self._reported]
        self._reported = frozenset(one.state.order_id for one in ended)
        began, self._began = self._began, "orders" in view.received
        return [_order(one) for one in new] if began else []

    def _refusals(self, view: View) -> list[str]:
        if "verdicts" not in view.received:
            return []
        before, self._refused = self._refused, frozenset(one.signal_id for one in view.refusals)
        new = [one for one in reversed(view.refusals) if before is not None and one.signal_id not in before]
        return [_refusal(one) for one in new]


def _refusal(one: Verdict) -> str:
    at = shown_time(market_moment(one, "decided_at"))
    return f"{at}  refused {one.instrument_id}: {one.message or one.reason}  {one.strategy_id}"


def _order(one: Order) -> str:
    at = shown_time(market_moment(one.state, "market_time"))
    price, why = rupees(amount(one.state, "average_price")), why_ended(one)
    status = word(one.state, "status") + (f": {why}" if why else "")
    direction = word(one.state, "side")
    return f"{at}  {direction} {filled(one)} {one.symbol} @ {price}  {status}  {one.state.strategy_id}"


def as_object(view: View, at: datetime) -> dict[str, Any]:
    """The whole view as JSON values, messages as the contract's JSON; null where nothing was received.

    Args:
        view: the view.
        at: wall time.
    """
    return {
        "at": at.isoformat(),
        "market": _json(view.market),
        "status": _json(view.status),
        "strategies": [_json(one) for one in view.strategies],
        "portfolio": _json(view.portfolio),
        "orders": [_json(one) for one in view.orders],
        "refusals": [_json(one) for one in view.refusals],
        "killSwitch": _json(view.kill_switch),
        "quotes": {symbol: _json(quote) for symbol, quote in sorted(view.quotes.items())},
        "lags": None if view.lags is None else [_json(one) for one in view.lags],
        "rates": {
            "ordersAMinute": view.orders_a_minute,
            "fillsAMinute": view.fills_a_minute,
            "framesASecond": view.frames_a_second,
            "handledASecond": dict(view.handled_a_second),
        },
        "troubles": {name: trouble.why for name, trouble in view.troubles.items()},
    }


def _json(message: Message | None) -> dict[str, Any] | None:
    return None if message is None else MessageToDict(message)
