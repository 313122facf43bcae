"""vectorbt's side of P13: fifty sets of averages over a file of one-minute bars, filled at the close, 0.03 % of the turnover."""

from __future__ import annotations

import sys

import pandas as pd
import vectorbt as vbt

FAST, SLOW = range(5, 26, 5), range(30, 121, 10)


def main() -> None:
    """Prints the number of sets and of their trades, and the best set's profit."""
    bars = pd.read_csv(sys.argv[1], index_col=0, parse_dates=True)
    pairs = [(fast, slow) for fast in FAST for slow in SLOW]
    fast = vbt.MA.run(bars["close"], [pair[0] for pair in pairs], ewm=True, short_name="fast")
    slow = vbt.MA.run(bars["close"], [pair[1] for pair in pairs], ewm=True, short_name="slow")
    above, below = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    done = vbt.Portfolio.from_signals(
        bars["close"],
        above,
        below,
        short_entries=below,
        short_exits=above,
        size=100,
        init_cash=1_000_000,
        freq="1min",
        fees=0.0003,
    )
    figures = pd.DataFrame(
        {
            "profit": done.total_profit(),
            "sharpe": done.sharpe_ratio(),
            "drawdown": done.max_drawdown(),
            "trades": done.trades.count(),
        }
    ).sort_values("profit", ascending=False)
    print(len(figures), int(figures["trades"].sum()), figures["profit"].iloc[0])


if __name__ == "__main__":
    main()
