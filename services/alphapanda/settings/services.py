"""Settings of the services: brokers, market data, strategies, risk limits, order execution, portfolios."""

from __future__ import annotations

from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, create_model

from alphapanda.domain.fill_rule import FillRule
from alphapanda.paper_exchange.core.fill_models import Queue, Slippage
from alphapanda.risk.core.limit import Limit, Unit, Value
from alphapanda.risk.core.named_limits import NAMED_LIMITS
from alphapanda.risk.core.switch_copies import COMPARE_SECONDS
from alphapanda.settings.section import Seconds, Section
from alphapanda.trading.options import TradingOptions

Rupees = Annotated[Decimal, Field(gt=0, max_digits=19, decimal_places=4)]
Leverage = Annotated[Decimal, Field(ge=1, le=100)]
Margin = Annotated[Decimal, Field(gt=0, le=100)]
Percent = Annotated[Decimal, Field(ge=0, le=100)]
Share = Annotated[Decimal, Field(gt=0, le=100)]

_TRADING: Final = TradingOptions()


class PaperTradingSettings(Section):
    """The paper exchange and its account."""

    enabled: bool = Field(default=True, description="send signals to the paper broker")
    slippage_percent: Percent = Field(
        Decimal("0.05"), description="percent of the price, always against you; half to one and a half of it"
    )
    slippage: Slippage = Field(
        Slippage.PERCENT,
        description="what an order pays that takes the market's price: percent (slippage_percent), spread (half of"
        " spread_ticks), or volume_share (slippage_percent times its share of the traded volume)",
    )
    spread_ticks: int = Field(
        2, ge=1, le=1000, description="the spread in price steps; where slippage is spread"
    )
    fill_share_percent: Share | None = Field(
        None,
        description="percent of the traded volume that may fill at once of an order that waits, the rest waits on; unset: it"
        " fills whole",
    )
    latency_ms: int = Field(
        0, ge=0, le=60_000, description="market time from the call until an order is at the exchange"
    )
    queue: Queue = Field(
        Queue.FRONT,
        description="where a limit order stands: front (it trades when the price touches its limit), or back (when the price"
        " goes beyond)",
    )
    circuit_percent: Percent = Field(
        Decimal(0),
        description="percent of the day's first price beyond which nothing trades, as at an exchange's circuit limits; 0:"
        " there are none",
    )
    charges: Literal["kite", "percent", "none"] = Field(
        "kite", description="what fills cost: what Zerodha charges, a percentage of the turnover, or nothing"
    )
    commission_percent: Percent = Field(
        Decimal("0.1"), description="percent of the turnover; where charges are percent"
    )
    starting_cash: Decimal = Field(Decimal(1_000_000), gt=0, description="cash of a new account, in rupees")
    buying_power: bool = Field(
        default=True, description="refuse entries that the account's available funds can't pay"
    )
    as_live: bool = Field(
        default=True,
        description="refuse what Zerodha and the exchanges refuse, such as NRML for shares; false: for research",
    )
    margin_mis_leverage: Leverage | None = Field(
        None, description="value of intraday shares that one rupee of margin holds; unset: by date, 5"
    )
    margin_futures_percent: Margin | None = Field(
        None, description="margin of futures in percent of their value; unset: by date, 15"
    )
    margin_short_options_percent: Margin | None = Field(
        None, description="margin of short options in percent of strike times units; unset: by date, 15"
    )
    fill: FillRule = Field(
        FillRule.NEXT_OPEN,
        description="when orders on recorded bars fill: next_open, or close; on ticks at once",
    )
    square_off_time: time = Field(time(15, 0), description="IST time at which MIS positions are squared off")
    visibility_window_seconds: Seconds = Field(
        5.0, description="how long an order without an answer is looked up by its tag"
    )


class MarketDataSettings(Section):
    """Feeds and prices."""

    seed: int = Field(7, ge=0, description="seed of the simulator and of paper slippage")
    frame_interval_ms: int = Field(
        250, ge=10, le=60_000, description="market time between the simulator's frames"
    )
    clock_max_age_seconds: Seconds = Field(
        10.0, description="wall age from which the market time of a real-time feed is unknown"
    )
    raw_folder: Path | None = Field(
        None,
        description="folder in which the messages of the live feed are recorded as they come, a file each start; empty: none",
    )
    wild_print_percent: float = Field(
        20.0,
        ge=0,
        le=10_000,
        allow_inf_nan=False,
        description="distance from the last price, in percent, from which on a price waits for a second that agrees"
        " before it is believed; 0: never",
    )


class InstrumentsSettings(Section):
    """The instruments that are known beside the shipped ones."""

    file: Path | None = Field(
        None,
        description="where `alphapanda instruments` keeps imported instruments; default: in the user's data home",
    )


class ReplaySettings(Section):
    """How the files of a replay are read; `alphapanda replay` has an option for each."""

    bar_interval: str = Field(
        "", description="length of a bar, 1m to 1d; empty: read from the spacing of the bars"
    )
    stamp: Literal["auto", "start", "end"] = Field(
        "auto", description="which end of a bar its time names; auto: the start, if nothing denies it"
    )
    on_conflict: Literal["refuse", "first", "last"] = Field(
        "refuse", description="which of two rows that disagree about one bar is used; refuse: neither"
    )
    columns: str = Field("", description="ROLE=COLUMN,… for columns that aren't recognised")
    time_format: str = Field(
        "", description="dmy, mdy, ymd, s, ms, us, ns, or a pattern such as %d-%m-%Y %H:%M; empty: recognised"
    )
    time_zone: str = Field(
        "", description="zone of times that name none; empty: Asia/Kolkata, or UTC if the column says so"
    )
    first_day: str = Field("", description="first day that is replayed, YYYY-MM-DD; empty: from the begin")
    last_day: str = Field("", description="last day that is replayed, YYYY-MM-DD; empty: to the end")


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
    most_strategies: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="strategies that there may be, deleted ones among them; one more is refused",
    )
    warm_up_from_history: bool = Field(
        default=False,
        description="warm strategies on bars up on the broker's bars of the past where the log doesn't reach back (Zerodha)",
    )
    folder: Path | None = Field(None, description="folder with the Python files of your own strategies")
    yaml: Path | None = Field(
        None, description="YAML file with the strategies to create where there has never been one"
    )


class _RiskSection(Section):
    """Limits of every account, where UpdateLimits has set none; exits pass all of them. Empty: not enforced."""

    price_max_age_seconds: Seconds = Field(30.0, description="market time after which a price is stale")
    limits_enforced: bool = Field(
        default=True, description="false lifts all these limits (replay --no-limits)"
    )
    kill_switch_comparison_seconds: Seconds = Field(
        COMPARE_SECONDS,
        description="how often trading's and Redis's copies of the kill switches are compared with risk's",
    )

    def value_of(self, limit: Limit[Any]) -> Value:
        """Returns the value of a limit that a risk rule declares."""
        value: Any = getattr(self, limit.setting)
        return timedelta(seconds=float(value)) if limit.unit is Unit.SECONDS and value is not None else value


def _field(limit: Limit[Any]) -> tuple[Any, Any]:
    """Returns the pydantic field of a limit: type and FieldInfo."""
    kind: Any = Seconds if limit.unit is Unit.SECONDS else Rupees
    if limit.is_whole:
        kind = Annotated[int, Field(ge=limit.least)]
    default = limit.default.total_seconds() if isinstance(limit.default, timedelta) else limit.default
    return kind if default is not None else kind | None, Field(default, description=limit.means)


if TYPE_CHECKING:
    RiskSettings = _RiskSection
else:
    RiskSettings = create_model(
        "RiskSettings",
        __base__=_RiskSection,
        __doc__=_RiskSection.__doc__,
        **{limit.setting: _field(limit) for limit in NAMED_LIMITS.values()},
    )
"""The section with a setting for each limit; generated from the limits that the rules' files declare."""


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
    manual_orders_under_way: int = Field(
        _TRADING.manual_orders_under_way,
        ge=1,
        le=100_000,
        description="manual orders of one account under way at once; one more is refused",
    )
    protection_interval_seconds: Seconds = Field(
        1.0,
        description="how often prices are compared with the targets and trails of protected positions",
    )


class PortfolioManagerSettings(Section):
    """Snapshots and reconciliation of portfolios."""

    snapshot_interval_seconds: Seconds = Field(
        300.0, description="market time between two snapshots of an account"
    )
    reconciliation_interval_seconds: Seconds = Field(
        3600.0, description="wall time between two checks of the books against the ledger"
    )
    broker_reconciliation_seconds: Seconds = Field(
        60.0, description="wall time between two comparisons of a live broker's books with ours"
    )
