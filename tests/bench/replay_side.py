"""Our side of P6: one file of ticks through the real cores, as a program of its own like the peers.

Charges and slippage are none on every side: the peers know none of Zerodha's lines. Funds are checked for each entry, as
nautilus_trader and backtrader do; vn.py has none.
"""

from __future__ import annotations

import json
import sys
import time
from array import array
from datetime import date
from pathlib import Path

from alphapanda.app.collecting import collect_less
from alphapanda.app.replay import compose_replay
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame
from alphapanda.domain.order import Product
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.core.ticks import PRICE_SCALE
from alphapanda.settings.sources import load_settings
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState

PAISE = 100
SYMBOL = "NSE:YESBANK"


def main() -> None:
    """Prints orders and seconds; the frames are there before the clock starts, one a tick as replay makes them."""
    values = array("q", Path(sys.argv[1]).read_bytes())
    times, paise = values[: len(values) // 2], values[len(values) // 2 :]
    settings = load_settings({}, paper_trading={"charges": "none", "slippage_percent": 0})
    directory = shipped_instruments(date.max)
    instrument = directory.require_symbol(SYMBOL, "instrument")
    strategy = StrategyConfig(
        strategy_id="ema_cross",
        revision=1,
        state=StrategyState.RUNNING,
        strategy_type="ema_cross",
        parameters={"fast": "10", "slow": "20"},
        instruments=(StrategyInstrument(instrument.instrument_id, instrument.instrument_token),),
        brokers=(),
        account=settings.account,
        quantity=100,
        product=Product.MIS,
        signal_ttl_seconds=settings.strategy.signal_ttl_seconds,
    )
    replay = compose_replay([strategy], settings, load_nse_calendar(), directory)
    token = (instrument.instrument_token,)
    frames = [
        Frame("bench", 0, sequence, at, PRICE_SCALE, token, (price * PRICE_SCALE // PAISE,), (at,))
        for sequence, (at, price) in enumerate(zip(times, paise, strict=True), 1)
    ]
    collect_less()  # as the command does
    began = time.perf_counter()
    replay.run(frames)
    seconds = time.perf_counter() - began
    print(json.dumps({"orders": replay.tally.fills, "seconds": seconds}))


if __name__ == "__main__":
    main()
