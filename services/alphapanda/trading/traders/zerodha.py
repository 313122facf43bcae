"""Zerodha, registered without a trader: its topics exist, its orders fail as "off", and it can't be enabled yet."""

from __future__ import annotations

from alphapanda.domain.errors import InvalidInput
from alphapanda.trading.traders.registry import BrokerRegistration, TraderParts
from alphapanda.trading.traders.trader import Trader


def _build(_: TraderParts) -> Trader:
    raise InvalidInput("zerodha.enabled", "true", "this version trades on paper only; set it to false")


REGISTRATION = BrokerRegistration("zerodha", live=True, build=_build)
