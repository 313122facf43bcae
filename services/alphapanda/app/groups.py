"""The consumer groups of a deployment and the payloads that each reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from alphapanda.portfolio import consumer as portfolio_topics
from alphapanda.risk import consumer as risk_topics
from alphapanda.strategy import consumer as strategy_topics
from alphapanda.trading import consumer as trading_topics

GROUPS: Final[Mapping[str, Sequence[str]]] = {
    strategy_topics.GROUP: ("tick_frame",),
    f"{risk_topics.GROUP}.signals": risk_topics.SIGNAL_PAYLOADS,
    f"{risk_topics.GROUP}.orders": risk_topics.ORDER_PAYLOADS,
    trading_topics.GROUP: trading_topics.PAYLOADS,
    portfolio_topics.GROUP: portfolio_topics.PAYLOADS,
}
