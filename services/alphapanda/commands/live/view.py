"""State of the live view, updated from the platform's answers. No I/O, no clock: times are arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from alphapanda.commands.live.rates import Rates
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusResponse, Quote, WatchQuotesResponse
from panda.ops.v1.ops_pb2 import ConsumerLag, GetStatusResponse, ListConsumerLagResponse
from panda.portfolio.v1.portfolio_pb2 import Portfolio, WatchPortfolioResponse
from panda.risk.v1.risk_pb2 import GetKillSwitchResponse, KillSwitch, ListVerdictsResponse, Verdict
from panda.strategy.v1.strategy_pb2 import ListStrategiesResponse, Strategy
from panda.trading.v1.trading_pb2 import Order, WatchOrdersResponse

ORDERS_KEPT: Final = 100
ERRORS_KEPT: Final = 20
QUOTES_WATCHED: Final = 1000
HANDLED_WINDOW: Final = 10.0
MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Failure of a source that does not answer.

    Attributes:
        since: time of the first failure in a row, in seconds of the view's clock.
        why: one line for a person.
    """

    since: float
    why: str


class View:
    """The newest known state of an account, the market and the services.

    Args:
        sources: names of its sources, such as "orders".
        note: line shown while there is no trouble.

    Attributes:
        market: market time and session. None (or empty) until received, like all below.
        status: status of the services.
        strategies: all of them, by name.
        portfolio: the account at last prices.
        orders: its orders, newest first.
        refusals: the newest rejected verdicts, newest first.
        kill_switch: the broker's kill switch.
        quotes: last prices of what is traded, by symbol.
        lags: consumer groups with a lag, also those without a running member.
        troubles: failures by source, of those that do not answer now.
        errors: errors logged by this process, newest last.
        restarted_at: when PostgreSQL or Redis was last seen to be started again; None where never.
    """

    def __init__(self, sources: Sequence[str], note: str = "") -> None:
        self.sources = tuple(sources)
        self.note = note
        self.market: GetMarketStatusResponse | None = None
        self.status: GetStatusResponse | None = None
        self.strategies: tuple[Strategy, ...] = ()
        self.portfolio: Portfolio | None = None
        self.orders: tuple[Order, ...] = ()
        self.refusals: tuple[Verdict, ...] = ()
        self.kill_switch: KillSwitch | None = None
        self.quotes: dict[str, Quote] = {}
        self.lags: tuple[ConsumerLag, ...] | None = None
        self.troubles: dict[str, Trouble] = {}
        self.errors: tuple[str, ...] = ()
        self.restarted_at: float | None = None
        self.orders_revision = 0
        self.received: frozenset[str] = frozenset()
        self._orders_seen = 0
        self._handled = Rates(HANDLED_WINDOW)
        self._counted = Rates(MINUTE)

    # -- updates ------------------------------------------------------------------------------------------------------

    def fold(self, source: str, message: Message, at: float) -> None:
        """Applies a message of a source, and clears the source's trouble."""
        self.troubles.pop(source, None)
        self.received |= {source}
        match message:
            case GetMarketStatusResponse():
                self.market = message
            case GetStatusResponse():
                self._take_status(message, at)
            case ListStrategiesResponse():
                self.strategies = tuple(message.strategies)
            case WatchPortfolioResponse():
                self._take_portfolio(message, at)
            case WatchOrdersResponse():
                self._take_orders(message)
            case ListVerdictsResponse():
                self.refusals = tuple(one for one in message.verdicts if not (one.approved or one.waiting))
            case GetKillSwitchResponse():
                self.kill_switch = message.kill_switch
            case ListConsumerLagResponse():
                self.lags = tuple(message.lags)
            case WatchQuotesResponse():
                self.quotes |= {quote.symbol: quote for quote in message.quotes}
            case _:
                raise TypeError(f"no place for a {message.DESCRIPTOR.full_name}")

    def lost(self, source: str, why: str, at: float) -> None:
        """Notes that a source does not answer; what was received before is kept."""
        known = self.troubles.get(source)
        self.troubles[source] = Trouble(at if known is None else known.since, why)

    def failed(self, text: str) -> None:
        """Adds an error of this process."""
        self.errors = (*self.errors, text)[-ERRORS_KEPT:]

    def _take_status(self, message: GetStatusResponse, at: float) -> None:
        restarts = sum(one.restarts for one in message.servers)
        if self.status is not None and restarts > sum(one.restarts for one in self.status.servers):
            self.restarted_at = at
        self.status = message
        if "orders" in self.received:  # sampled here, because no message arrives while there are no orders
            self._counted.observe("orders", at, self._orders_seen)
        for service in message.services:
            handled = sum(consumer.processed for consumer in service.consumers)
            self._handled.observe(service.service, at, handled)
            for name, count in service.counters.items():
                self._handled.observe(f"{service.service}.{name}", at, count)

    def _take_portfolio(self, message: WatchPortfolioResponse, at: float) -> None:
        if message.HasField("portfolio"):
            self.portfolio = message.portfolio
            self._counted.observe("fills", at, message.portfolio.revision)

    def _take_orders(self, message: WatchOrdersResponse) -> None:
        if message.revision < self.orders_revision:  # the platform was reset: its revisions begin again
            self.orders, self.orders_revision, self._orders_seen = (), 0, 0
        known = {order.state.order_id: order for order in self.orders}
        if not message.snapshot:
            self._orders_seen += sum(order.state.order_id not in known for order in message.orders)
        known |= {order.state.order_id: order for order in message.orders}
        newest_first = sorted(
            known.values(), key=lambda order: order.created_at.ToNanoseconds(), reverse=True
        )
        self.orders = tuple(newest_first[:ORDERS_KEPT])
        self.orders_revision = max(self.orders_revision, message.revision)

    # -- figures ------------------------------------------------------------------------------------------------------

    @property
    def away(self) -> Trouble | None:
        """The longest trouble where no source answers; None while one does."""
        if not self.troubles or len(self.troubles) < len(self.sources):
            return None
        return min(self.troubles.values(), key=lambda trouble: trouble.since)

    @property
    def orders_a_minute(self) -> float | None:
        """Orders created a minute, over the last minute."""
        return _a_minute(self._counted.per_second("orders"))

    @property
    def fills_a_minute(self) -> float | None:
        """Fills booked a minute, over the last minute."""
        return _a_minute(self._counted.per_second("fills"))

    @property
    def frames_a_second(self) -> float | None:
        """Frames of market data handled by strategies a second, over the last ten seconds."""
        return self._handled.per_second("strategy.frames")

    @property
    def handled_a_second(self) -> Mapping[str, float]:
        """Records handled a second by service, where known."""
        services = () if self.status is None else self.status.services
        rates = {one.service: self._handled.per_second(one.service) for one in services}
        return {service: rate for service, rate in rates.items() if rate is not None}

    @property
    def lag(self) -> int | None:
        """Records on the log that consumer groups have not handled yet."""
        return None if self.lags is None else sum(one.lag for one in self.lags)

    @property
    def traded(self) -> tuple[str, ...]:
        """Symbols that are held or that strategies trade, at most QUOTES_WATCHED."""
        held = () if self.portfolio is None else self.portfolio.positions
        symbols = {one.symbol for one in held} | {symbol for one in self.strategies for symbol in one.symbols}
        return tuple(sorted(symbols))[:QUOTES_WATCHED]

    @property
    def unpublished(self) -> int:
        """Rows of outboxes that aren't published yet."""
        return 0 if self.status is None else sum(one.outbox_unpublished for one in self.status.services)


def _a_minute(per_second: float | None) -> float | None:
    return None if per_second is None else per_second * MINUTE
