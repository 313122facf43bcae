"""The real year: signals are those that pandas makes of the true bars, profits those of backtrader and backtesting.py."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.e2e.true_bars import pnl, signals

from alphapanda.app.replay import WantedStrategy, build_replay
from alphapanda.domain.frame import Frame
from alphapanda.domain.order_events import Filled
from alphapanda.domain.signal import Signal

IST = ZoneInfo("Asia/Kolkata")
CASH = Decimal(100_000_000)
WANTED = [(name, interval) for name in signals.STRATEGIES for interval in signals.MINUTES]


class Year:
    """A replay of the year: fifteen strategies, each in an account of its own, without costs."""

    def __init__(self, file: Path) -> None:
        self.signals: defaultdict[str, list[str]] = defaultdict(list)
        self.fills: defaultdict[str, list[str]] = defaultdict(list)
        self.profit: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.held: defaultdict[str, int] = defaultdict(int)
        run = build_replay(
            [file],
            [
                WantedStrategy(
                    name,
                    signals.STRATEGIES[name] | {"interval": interval},
                    quantity=pnl.QUANTITY,
                    product="NRML",
                )
                for name, interval in WANTED
            ],
            instrument="NSE:YESBANK",
            limits_enforced=False,
            own_account=CASH,
            on_fill=self._on_fill,
        )
        self._names = {
            one.strategy_id: f"{name}.{interval}"
            for one, (name, interval) in zip(run.strategies, WANTED, strict=True)
        }
        host: Any = run.replay._host
        handle = host.on_frame

        def on_frame(frame: Frame) -> list[Signal]:
            made: list[Signal] = handle(frame)
            for one in made:
                side = (one.target or 0) // pnl.QUANTITY
                at = one.market_time.astimezone(IST)
                self.signals[self._names[one.key.strategy_id]].append(f"{at:%Y-%m-%d %H:%M} {side:+d}")
            return made

        host.on_frame = on_frame
        run.replay.run(run.frames)

    def _on_fill(self, filled: Filled, _: Decimal) -> None:
        order, fill = filled.order, filled.fill
        name, units = self._names[order.key.strategy_id], order.side.sign * fill.quantity
        self.fills[name].append(f"{fill.traded_at.astimezone(IST):%Y-%m-%d} {units:+d} {fill.price:.2f}")
        self.profit[name] -= units * fill.price
        self.held[name] += units


@pytest.fixture(scope="module")
def replayed(nse_data: Path) -> Year:
    (file,) = nse_data.glob("yesbank_2019_1min/*.csv.gz")
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("ALPHAPANDA_PAPER_TRADING__SLIPPAGE_PERCENT", "0")
        settings.setenv("ALPHAPANDA_PAPER_TRADING__CHARGES", "none")
        # Shares are sold short over night.
        settings.setenv("ALPHAPANDA_PAPER_TRADING__AS_LIVE", "false")
        # On 14 February it opened a quarter higher; the others believe that at once.
        settings.setenv("ALPHAPANDA_MARKETDATA__WILD_PRINT_PERCENT", "0")
        return Year(file)


def test_signals_are_those_of_pandas_on_the_true_bars(replayed: Year) -> None:
    """Five strategies on three intervals, out of one file of minutes: every signal of the year, to the minute.

    `python -m tests.e2e.true_bars.signals NAME` prints what pandas has of one.
    """
    expected = json.loads(signals.RECORDED.read_text())
    assert {name: signals.brief(found) for name, found in replayed.signals.items()} == expected


def test_profits_are_those_of_backtrader_and_backtesting_py(replayed: Year) -> None:
    """At the next open, without costs: each fill of the year, and the profit to the paisa, open positions at the last close."""
    last_close = Decimal("46.95")
    expected = json.loads(pnl.RECORDED.read_text())
    assert expected.keys() == replayed.fills.keys()
    for name, fills in replayed.fills.items():
        profit = replayed.profit[name] + replayed.held[name] * last_close
        assert expected[name]["backtesting"] == {"profit": f"{profit:.2f}"}, name
        assert expected[name]["backtrader"] == {
            "profit": f"{profit:.2f}",
            "fills": len(fills),
            "sha256": sha256("\n".join(fills).encode()).hexdigest(),
        }, name
