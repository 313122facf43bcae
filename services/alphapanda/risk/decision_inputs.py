"""Reads what a decision needs besides the account: prices and market time, with a timeout of their own, before any transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

import structlog
from redis.exceptions import RedisError

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.funds import FundsTerms
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.resilience.budgets import within
from alphapanda.resilience.failures import in_one_line
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs, LiveArming, Venue
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.restricted import RestrictedList
from alphapanda.risk.store.port import AccountFacts
from alphapanda.risk.strategy_statuses import StrategyStatuses
from alphapanda.storage.price_cache import MarketViews

Instruments = Callable[[], InstrumentDirectory]
"""Returns today's instruments; called for each use, because the directory is replaced as a whole."""

PRICE_BUDGET_SECONDS = 0.25
"""Default timeout for reading prices from Redis; after it the market is unknown, as if Redis were down."""

_log = structlog.get_logger(__name__)


class DecisionInputs:
    """Puts together the inputs of decisions.

    Args:
        views: prices and market time.
        instruments: returns today's instruments.
        calendar: the exchange's sessions.
        limits: the limits from the settings.
        strategy_statuses: the latest state of each strategy.
        price_budget_seconds: timeout for reading prices.
        funds: how accounts' funds are measured, by simulated broker.
        venues: where a broker's orders go; a broker that is absent is paper as live.
        live: brokers whose orders reach a real exchange; their accounts take entries only while they are armed.
        limits_at: the limits from the settings at brokers that have limits of their own.
        restricted: returns what the exchange restricts; None: there is no list.
    """

    def __init__(
        self,
        views: MarketViews,
        instruments: Instruments,
        calendar: TradingCalendar,
        limits: Limits,
        strategy_statuses: StrategyStatuses,
        price_budget_seconds: float = PRICE_BUDGET_SECONDS,
        funds: Mapping[str, FundsTerms] | None = None,
        venues: Mapping[str, Venue] | None = None,
        live: Collection[str] = (),
        limits_at: Mapping[str, Limits] | None = None,
        restricted: Callable[[], RestrictedList] | None = None,
    ) -> None:
        self.instruments = instruments
        self.calendar = calendar
        self.limits = limits
        self.live = frozenset(live)
        self.strategy_statuses = strategy_statuses
        self._views = views
        self._price_budget = price_budget_seconds
        self._funds: Mapping[str, FundsTerms] = funds or MappingProxyType({})
        self._venues: Mapping[str, Venue] = venues or MappingProxyType({})
        self._limits_at: Mapping[str, Limits] = limits_at or MappingProxyType({})
        self._restricted = restricted

    def limits_at(self, broker: str) -> Limits:
        """The limits from the settings that hold at a broker."""
        return self._limits_at.get(broker, self.limits)

    def enforces_funds(self, broker: str) -> bool:
        """Whether entries of the broker's accounts have to be paid."""
        terms = self._funds.get(broker)
        return terms is not None and terms.enforced

    async def market(self, tokens: Iterable[int]) -> MarketView:
        """Reads prices and market time; everything is unknown if Redis is down or slow (then only exits pass)."""
        try:
            return await within(self._price_budget, self._views.view(list(tokens)))
        except (RedisError, OSError) as error:  # a time-out is an OSError
            _log.warning("market.view_unavailable", error=in_one_line(error))
            return NOTHING_KNOWN

    def tokens_of(self, book: RiskBook) -> frozenset[int]:
        """The tokens of the instruments that the book has positions in."""
        instruments = self.instruments()
        known = (instruments.by_id(key.instrument_id) for key in book.positions)
        return frozenset(instrument.instrument_token for instrument in known if instrument)

    def of(self, market: MarketView, facts: AccountFacts, broker: str) -> Inputs:
        """The inputs of a decision on one account of the broker.

        Args:
            market: prices and market time, as `market` read them.
            facts: the account's limits and kill switches, as read from its rows.
            broker: the account's broker.
        """
        return Inputs(
            market,
            self.instruments(),
            self.calendar,
            self._limits_at.get(broker, self.limits),
            facts.trading_state,
            self.strategy_statuses.known,
            self.strategy_statuses.timed_out,
            facts.limits,
            facts.strategy_switches,
            facts.unknown_positions,
            self._funds.get(broker),
            self._venues.get(broker, Venue.AS_LIVE),
            LiveArming(facts.armed_day) if broker in self.live else None,
            self._restricted() if self._restricted is not None and broker in self.live else None,
        )
