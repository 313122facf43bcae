"""The tables of every schema in the database, for migrations and for the test that compares them."""

from __future__ import annotations

from alphapanda.auth.store.tables import METADATA as AUTH
from alphapanda.instruments.store.tables import METADATA as INSTRUMENTS
from alphapanda.paper_exchange.store.tables import METADATA as PAPER_EXCHANGE
from alphapanda.portfolio.store.tables import METADATA as PORTFOLIO
from alphapanda.risk.store.tables import METADATA as RISK
from alphapanda.storage.audit_tables import METADATA as AUDIT
from alphapanda.strategy.store.tables import METADATA as STRATEGY
from alphapanda.trading.store.tables import METADATA as TRADING

TABLES = (INSTRUMENTS, STRATEGY, RISK, TRADING, PAPER_EXCHANGE, PORTFOLIO, AUTH, AUDIT)
