"""Zerodha's registration. What speaks to Zerodha needs the extra `zerodha` (the package kiteconnect), and nothing else does."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from alphapanda.domain.errors import InvalidInput
from alphapanda.trading.traders.registry import BrokerRegistration, TraderParts
from alphapanda.trading.traders.trader import Trader

BROKER: Final = "zerodha"


def _build(parts: TraderParts) -> Trader:
    if find_spec("kiteconnect") is None:
        raise InvalidInput(
            "zerodha.enabled",
            "true",
            "the package kiteconnect, which is missing: install alphapanda[zerodha]",
        )
    if parts.zerodha is None:
        raise InvalidInput(
            "zerodha.enabled",
            "true",
            "an account at Zerodha: set zerodha.api_key and zerodha.api_secret, or zerodha.accounts",
        )
    from alphapanda.trading.traders.kite_trader import ZerodhaTrader  # noqa: PLC0415 - only where it is used

    return ZerodhaTrader(BROKER, parts.zerodha)


REGISTRATION = BrokerRegistration(BROKER, live=True, build=_build)
