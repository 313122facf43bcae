"""The registered brokers: to add one, add a file beside this one and a line here."""

from __future__ import annotations

from alphapanda.trading.traders import paper, zerodha
from alphapanda.trading.traders.registry import BrokerRegistration

BROKERS: tuple[BrokerRegistration, ...] = (
    paper.registration("paper"),
    zerodha.REGISTRATION,
)
"""Every registered broker."""
