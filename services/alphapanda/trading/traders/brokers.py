"""The brokers there are: a new one is a file beside this one and a line in it."""

from __future__ import annotations

from alphapanda.trading.traders import paper, zerodha
from alphapanda.trading.traders.registry import BrokerRegistration

BROKERS: tuple[BrokerRegistration, ...] = (
    paper.registration("paper"),
    zerodha.REGISTRATION,
)
"""Every broker there is."""
