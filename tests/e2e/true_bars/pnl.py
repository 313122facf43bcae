"""What backtrader and backtesting.py make of the signals on the true bars: fills at the next open, without costs.

The sides are pandas' (signals.py); orders, fills and profit are the peers' own. With either installed (`make bench-peers` has
backtrader; `pip install backtesting`), `python -m tests.e2e.true_bars.pnl backtrader` adds its figures to pnl.json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from tests.e2e.true_bars.signals import MINUTES, OF_A_DAY, STRATEGIES, minutes, resampled, wanted

RECORDED = Path(__file__).with_name("pnl.json")
QUANTITY = 100
CASH = 1_000_000_000
Fill = tuple[pd.Timestamp, int, float]
"""Its day, units (signed) and price in rupees."""


def targets(name: str, bars: pd.DataFrame) -> pd.Series:
    """The position to hold after each bar; NaN where nothing changes.

    An order is of its day: where the day has no further bar although it isn't over, it comes to nothing.
    """
    sides = wanted(name, bars) * QUANTITY
    last_of_day = bars["day"] != bars["day"].shift(-1)
    sides = sides.where(~last_of_day | (bars["ends"] == bars["close_at"]))
    if name in OF_A_DAY:
        sides = sides.where(bars["ends"] < bars["close_at"])
    return sides


def frame(bars: pd.DataFrame, sides: pd.Series) -> pd.DataFrame:
    """The bars as the peers read them: rupees, by start, with the target."""
    prices = {name.title(): bars[name] / 100 for name in ("open", "high", "low", "close")}
    return pd.DataFrame({**prices, "Volume": bars["volume"], "Target": sides}).set_index(
        pd.DatetimeIndex(bars["start"])
    )


def by_backtrader(data: pd.DataFrame) -> tuple[float, list[Fill]]:
    """Profit in rupees, and the fills, of backtrader."""
    import backtrader as bt

    fills: list[Fill] = []
    sides = data["Target"].to_numpy()

    class Follower(bt.Strategy):
        def next(self) -> None:
            side = sides[len(self) - 1]
            if not pd.isna(side):
                self.order_target_size(target=int(side))

        def notify_order(self, order: Any) -> None:
            if order.status == order.Completed:
                day = pd.Timestamp(bt.num2date(order.executed.dt)).normalize()
                fills.append((day, int(order.executed.size), order.executed.price))

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(CASH)
    cerebro.adddata(bt.feeds.PandasData(dataname=data.drop(columns="Target")))
    cerebro.addstrategy(Follower)
    cerebro.run()
    return cerebro.broker.getvalue() - CASH, fills


def by_backtesting(data: pd.DataFrame) -> tuple[float, list[Fill]]:
    """Profit in rupees of backtesting.py, which tells trades rather than fills."""
    from backtesting import Backtest, Strategy

    sides = data["Target"].to_numpy()

    class Follower(Strategy):
        def init(self) -> None:
            """Has no indicators."""

        def next(self) -> None:
            side = sides[len(self.data) - 1]
            change = 0 if pd.isna(side) else int(side) - self.position.size
            if change > 0:
                self.buy(size=change)
            elif change < 0:
                self.sell(size=-change)

    found = Backtest(data, Follower, cash=CASH, commission=0).run()
    return float(found["_equity_curve"]["Equity"].iloc[-1]) - CASH, []


PEERS: dict[str, Callable[[pd.DataFrame], tuple[float, list[Fill]]]] = {
    "backtrader": by_backtrader,
    "backtesting": by_backtesting,
}


def lines(fills: list[Fill]) -> list[str]:
    """The fills as text, a line each."""
    return [f"{day:%Y-%m-%d} {units:+d} {price:.2f}" for day, units, price in fills]


def main(peer: str, *names: str) -> None:
    """Adds a peer's figures to what is recorded; of the named sets, such as rsi.5m, or of all."""
    folder = Path(os.environ["ALPHAPANDA_TEST_NSE_DATA"])
    (file,) = folder.glob("yesbank_2019_1min/*.csv.gz")
    rows = minutes(file)
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    for name in STRATEGIES:
        for interval, length in MINUTES.items():
            if names and f"{name}.{interval}" not in names:
                continue
            bars = resampled(rows, length)
            profit, fills = PEERS[peer](frame(bars, targets(name, bars)))
            figures: dict[str, Any] = {"profit": f"{profit:.2f}"}
            if fills:
                text = "\n".join(lines(fills))
                figures |= {"fills": len(fills), "sha256": sha256(text.encode()).hexdigest()}
            recorded.setdefault(f"{name}.{interval}", {})[peer] = figures
    RECORDED.write_text(json.dumps(recorded, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
