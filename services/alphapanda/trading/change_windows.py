"""How long a change without an answer is looked up before it is called again, or given up.

A modification is never made again, so it has the whole time in which its broker may yet show it. A cancellation does no harm twice:
it is called again after some seconds and some look-ups that show the order working on. Only the last call of one has the whole time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alphapanda.trading.core.order_change import MOST_CANCEL_CALLS, ChangeKind, ChangeRequest
from alphapanda.trading.inquiry import LookUps
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.traders.trader import Trader

LEAST_LOOK_UPS: Final = 3
"""Answered look-ups that have to show an order as working before its cancellation is called again."""


class ChangeWindows:
    """The windows of the changes that one process looks up.

    Args:
        look_ups: keeps deadlines and counts answers.
        options: send window, call timeout, and the seconds after which a cancellation is called again.
        boot_clock: seconds since boot, suspension included.
    """

    def __init__(self, look_ups: LookUps, options: TradingOptions, boot_clock: Callable[[], float]) -> None:
        self._look_ups = look_ups
        self._options = options
        self._boot_clock = boot_clock

    def is_over(self, change: ChangeRequest, trader: Trader) -> bool:
        """Whether a change has had its time; read it before the broker is asked, which then shows at least as much.

        Args:
            change: one that was called.
            trader: of its broker.
        """
        options = self._options
        window = options.send_window_seconds + options.call_timeout_seconds + trader.visibility_window
        if _is_called_again(change):
            window = min(window, options.cancel_again_seconds)
        return self._boot_clock() >= self._look_ups.deadline(change.change_id, window)

    def after_look_up(self, change: ChangeRequest, *, over: bool) -> bool:
        """Whether a change's window is over after one more answered look-up.

        Args:
            change: one that was called.
            over: what `is_over` said before the broker was asked.
        """
        answered = self._look_ups.answered_without(change.change_id)
        return over and (answered >= LEAST_LOOK_UPS or not _is_called_again(change))


def _is_called_again(change: ChangeRequest) -> bool:
    return change.kind is ChangeKind.CANCEL and change.calls < MOST_CANCEL_CALLS
