"""The measured process of P9: prints resident bytes a pair, configured and after each pair has seen 50 ticks."""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import replace
from datetime import date

import psutil

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import Instrument, InstrumentDirectory, instrument_id_of
from alphapanda.domain.order import Product
from alphapanda.domain.routing import DEFAULT_BROKER, ExecutionRouter
from alphapanda.instruments.core import shipped_instruments
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.host import StrategyHost

TICKS = 50


def main() -> None:
    """Takes the numbers of strategies and instruments."""
    strategies, instruments = int(sys.argv[1]), int(sys.argv[2])
    calendar, watched = load_nse_calendar(), _instruments(instruments)
    directory = InstrumentDirectory(watched)
    host = StrategyHost(directory, calendar, ExecutionRouter([DEFAULT_BROKER]))
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    for number in range(strategies):
        host.configure(
            StrategyConfig(
                strategy_id=f"strategy-{number}",
                revision=1,
                state=StrategyState.RUNNING,
                strategy_type="ema_cross",
                parameters={"fast": "10", "slow": "20"},
                instruments=tuple(StrategyInstrument(i.instrument_id, i.instrument_token) for i in watched),
                brokers=(),
                account="default",
                quantity=watched[0].lot_size,
                product=Product.MIS,
                signal_ttl_seconds=60,
            )
        )
    gc.collect()
    pairs = strategies * len(watched)
    told = {"configured": (process.memory_info().rss - before) / pairs}
    day = calendar.first_covered_day
    opened = nanoseconds(calendar.sessions(calendar.trading_day_on_or_after(day), "NSE_EQ")[0].open)
    tokens = tuple(each.instrument_token for each in watched)
    for tick in range(TICKS):
        at = opened + tick * 1_000_000_000
        prices = tuple(10_000 + (7 * tick + n) % 90 for n in range(len(tokens)))
        host.on_frame(Frame("bench", 0, tick + 1, at, 100, tokens, prices, (at,) * len(tokens)))
    gc.collect()
    told[f"after {TICKS} ticks"] = (process.memory_info().rss - before) / pairs
    print(json.dumps({**told, "pairs": pairs}))


def _instruments(count: int) -> list[Instrument]:
    """So many stocks that differ in name and token: fewer are shipped with the package."""
    shipped = next(each for each in shipped_instruments(date.max) if each.tradable)
    return [
        replace(
            shipped,
            instrument_id=instrument_id_of(shipped.exchange, f"BENCH{number}", None),
            instrument_token=1_000_000 + 256 * number,
            tradingsymbol=f"BENCH{number}",
        )
        for number in range(count)
    ]


if __name__ == "__main__":
    main()
