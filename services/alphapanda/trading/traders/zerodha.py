"""Zerodha, registered without a trader: its topics exist, its orders fail as "off", and it can't be enabled yet.

What speaks to Zerodha needs the extra `zerodha` (the package kiteconnect), and nothing else does.
"""

from __future__ import annotations

from importlib.util import find_spec

from alphapanda.domain.errors import InvalidInput
from alphapanda.trading.traders.registry import BrokerRegistration, TraderParts
from alphapanda.trading.traders.trader import Trader


def _build(_: TraderParts) -> Trader:
    reason = "this version trades on paper only; set it to false"
    if find_spec("kiteconnect") is None:
        reason += " (Zerodha will need the package kiteconnect: install alphapanda[zerodha])"
    raise InvalidInput("zerodha.enabled", "true", reason)


REGISTRATION = BrokerRegistration("zerodha", live=True, build=_build)
