"""The gauges that are asked for when metrics are collected, with their labels. What bounds a label is in services/BOUNDS.md."""

from __future__ import annotations

from typing import Final

from alphapanda.telemetry.figures import Gauge

BROKER: Final = ("broker",)

EQUITY: Final = Gauge("alphapanda.portfolio.equity", "INR", "cash and positions at the last prices", BROKER)
CASH: Final = Gauge("alphapanda.portfolio.cash", "INR", "cash of all accounts", BROKER)
REALISED: Final = Gauge("alphapanda.portfolio.realised", "INR", "profit of closed positions so far", BROKER)
UNREALISED: Final = Gauge("alphapanda.portfolio.unrealised", "INR", "profit of open positions", BROKER)
CHARGES: Final = Gauge("alphapanda.portfolio.charges", "INR", "charges and commission so far", BROKER)
DAY_PNL: Final = Gauge("alphapanda.portfolio.day_pnl", "INR", "change of equity since the day began", BROKER)
GROSS_EXPOSURE: Final = Gauge(
    "alphapanda.portfolio.gross_exposure", "INR", "sum of the positions' values, each positive", BROKER
)
NET_EXPOSURE: Final = Gauge(
    "alphapanda.portfolio.net_exposure", "INR", "values of long positions less those of short ones", BROKER
)
OPEN_POSITIONS: Final = Gauge("alphapanda.portfolio.open_positions", "", "positions that aren't flat", BROKER)
UNPRICED_POSITIONS: Final = Gauge(
    "alphapanda.portfolio.unpriced_positions", "", "open positions without a last price", BROKER
)
SNAPSHOT_AGE: Final = Gauge(
    "alphapanda.portfolio.snapshot_age", "s", "market time since the snapshots were last complete"
)

ORDERS_OPEN: Final = Gauge(
    "alphapanda.orders.open", "", "orders that have not ended, by status", ("broker", "status")
)
ORDERS_UNKNOWN: Final = Gauge(
    "alphapanda.orders.unknown", "", "orders whose broker has given no clear answer yet", BROKER
)
TRADING_STATE: Final = Gauge(
    "alphapanda.kill_switch.state", "", "0 active, 1 only what reduces, 2 nothing but cancels", BROKER
)
DAILY_LOSS_TRIPPED: Final = Gauge(
    "alphapanda.risk.daily_loss_tripped", "", "accounts whose entries the daily loss has stopped", BROKER
)
STRATEGIES: Final = Gauge("alphapanda.strategies", "", "strategies, by state", ("state",))

BREAKER_OPEN: Final = Gauge(
    "alphapanda.breaker.open",
    "",
    "1 while a circuit breaker keeps a consumer from a dependency",
    ("consumer", "broker", "dependency"),
)
PARKED_KEYS: Final = Gauge(
    "alphapanda.consumer.parked", "", "keys that a bug has stopped", ("consumer", "broker")
)
DEAD_LETTERS: Final = Gauge(
    "alphapanda.dead_letters.waiting", "", "dead letters neither redriven nor discarded", ("topic", "broker")
)
HEADROOM: Final = Gauge(
    "alphapanda.limiter.headroom", "", "places that a limiter has left", ("limiter", "broker")
)
LIMIT: Final = Gauge("alphapanda.limiter.limit", "", "places that a limiter has", ("limiter", "broker"))

IN_SESSION: Final = Gauge("alphapanda.market_data.in_session", "", "1 while frames are due")
MARKET_DATA_LATENCY: Final = Gauge(
    "alphapanda.market_data.latency",
    "s",
    "the longest that a frame took to be published since the last collection; of a live feed since its exchange time",
)

MEMORY: Final = Gauge("alphapanda.process.memory", "By", "resident memory of the process")
DESCRIPTORS: Final = Gauge("alphapanda.process.descriptors", "", "open file descriptors of the process")
THREADS: Final = Gauge("alphapanda.process.threads", "", "threads of the process")
PROCESS_CPU: Final = Gauge(
    "alphapanda.process.cpu", "", "processor time of the process in a second, in processors"
)
HOST_USED: Final = Gauge(
    "alphapanda.host.used", "", "used share of the machine's memory, processors or disk", ("resource",)
)
ALARM_THRESHOLD: Final = Gauge(
    "alphapanda.alarm.threshold", "", "value of the settings beyond which an alarm is raised", ("alarm",)
)

GAUGES: Final = (
    EQUITY,
    CASH,
    REALISED,
    UNREALISED,
    CHARGES,
    DAY_PNL,
    GROSS_EXPOSURE,
    NET_EXPOSURE,
    OPEN_POSITIONS,
    UNPRICED_POSITIONS,
    SNAPSHOT_AGE,
    ORDERS_OPEN,
    ORDERS_UNKNOWN,
    TRADING_STATE,
    DAILY_LOSS_TRIPPED,
    STRATEGIES,
    BREAKER_OPEN,
    PARKED_KEYS,
    DEAD_LETTERS,
    HEADROOM,
    LIMIT,
    IN_SESSION,
    MARKET_DATA_LATENCY,
    MEMORY,
    DESCRIPTORS,
    THREADS,
    PROCESS_CPU,
    HOST_USED,
    ALARM_THRESHOLD,
)
"""All of them."""
