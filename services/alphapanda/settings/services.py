"""Settings of the services: what they trade with and what they refuse."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from alphapanda.settings.section import Seconds, Section
from alphapanda.trading.options import TradingOptions

Rupees = Annotated[Decimal, Field(gt=0, max_digits=19, decimal_places=4)]
Percent = Annotated[Decimal, Field(ge=0, le=100)]

_TRADING: Final = TradingOptions()


class PaperTradingSettings(Section):
    """The paper exchange and its account."""

    enabled: bool = Field(default=True, description="send signals to the paper broker")
    slippage_percent: Percent = Field(Decimal("0.05"), description="percent of the price, always against you")
    commission_percent: Percent = Field(Decimal("0.1"), description="percent of the turnover")
    starting_cash: Decimal = Field(Decimal(1_000_000), gt=0, description="cash of a new account, in rupees")
    square_off_time: time = Field(time(15, 0), description="IST time at which MIS positions are squared off")
    visibility_window_seconds: Seconds = Field(
        5.0, description="how long an order without an answer is looked up by its tag"
    )


class ZerodhaSettings(Section):
    """Zerodha."""

    enabled: bool = Field(default=False, description="send signals of strategies that opted in to Zerodha")


class MarketDataSettings(Section):
    """Feeds and prices."""

    seed: int = Field(7, ge=0, description="seed of the simulator")
    frame_interval_ms: int = Field(
        250, ge=10, le=60_000, description="market time between the simulator's frames"
    )
    clock_max_age_seconds: Seconds = Field(
        10.0, description="wall age from which the market time of a real-time feed is unknown"
    )


class StrategySettings(Section):
    """The strategy service."""

    snapshot_interval_seconds: Seconds = Field(
        5.0, description="wall time between snapshots of strategy state"
    )
    signal_ttl_seconds: int = Field(
        60, ge=1, le=86_400, description="market time for which a signal is valid by default"
    )
    max_errors_in_a_row: int = Field(
        5, ge=1, le=1000, description="errors in a row on one instrument that stop a strategy"
    )
    max_signals_per_minute: int = Field(
        120,
        ge=1,
        le=100_000,
        description="signals on one instrument in a minute of market time; one more stops the strategy",
    )
    folder: Path | None = Field(None, description="folder with the Python files of your own strategies")
    yaml: Path | None = Field(
        None, description="YAML file with the strategies to create where there has never been one"
    )


class RiskSettings(Section):
    """Limits of every account, where UpdateLimits has set none; exits pass all of them. Empty: not enforced."""

    max_order_quantity: int = Field(100_000, ge=1, description="units in one order")
    max_position_quantity: int = Field(100_000, ge=1, description="units held under one position key")
    price_max_age_seconds: Seconds = Field(30.0, description="market time after which a price is stale")
    max_order_value: Rupees | None = Field(None, description="rupees of one entry, at the last price")
    max_position_value: Rupees | None = Field(
        None, description="rupees in one instrument, held and in open orders, of all strategies together"
    )
    max_gross_exposure: Rupees | None = Field(
        None, description="rupees held and in open orders, long and short added up"
    )
    max_open_orders: int | None = Field(None, ge=0, description="orders open at once")
    max_daily_trades: int | None = Field(None, ge=0, description="orders in the exchange's day")
    max_strategy_daily_trades: int | None = Field(
        None, ge=0, description="orders of one strategy in the exchange's day"
    )
    max_daily_loss: Rupees | None = Field(
        None,
        description="loss in the exchange's day, realised and unrealised, in rupees; then the account only reduces",
    )
    max_order_rate: int | None = Field(None, ge=0, description="orders in order_rate_window_seconds")
    max_strategy_order_rate: int | None = Field(
        None, ge=0, description="orders of one strategy in order_rate_window_seconds"
    )
    order_rate_window_seconds: Seconds = Field(60.0, description="market time over which orders are counted")
    duplicate_window_seconds: Seconds | None = Field(
        None, description="market time within which the same signal passes only once"
    )
    cooldown_losses: int | None = Field(
        None, ge=0, description="losing round trips in a row after which a strategy pauses in an instrument"
    )
    cooldown_seconds: Seconds = Field(900.0, description="market time that such a pause lasts")
    limits_enforced: bool = Field(True, description="false lifts all these limits (replay --no-limits)")


class TradingSettings(Section):
    """Order execution."""

    price_max_age_seconds: Seconds = Field(
        30.0, description="market time after which the price of an entry is stale"
    )
    send_window_seconds: Seconds = Field(
        _TRADING.send_window_seconds,
        description="most time between the commit of SUBMITTING and the call to the broker",
    )
    call_timeout_seconds: Seconds = Field(
        _TRADING.call_timeout_seconds, description="a broker call without an answer is UNKNOWN after this"
    )


class PortfolioManagerSettings(Section):
    """Snapshots and reconciliation of portfolios."""

    snapshot_interval_seconds: Seconds = Field(
        300.0, description="market time between two snapshots of an account"
    )
    reconciliation_interval_seconds: Seconds = Field(
        3600.0, description="wall time between two checks of the books against the ledger"
    )
