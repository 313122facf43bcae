"""vn.py: its CTA backtesting engine in tick mode. It has no risk checks and no ledger."""

from datetime import UTC, datetime

from ema_cross import QUANTITY, Flips, read_ticks, timed
from vnpy.trader.constant import Exchange, Interval
from vnpy.trader.object import TickData
from vnpy_ctastrategy import CtaTemplate
from vnpy_ctastrategy.backtesting import BacktestingEngine, BacktestingMode


class EmaCross(CtaTemplate):
    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.flips = Flips()
        self.held = 0

    def on_init(self) -> None:
        pass

    def on_tick(self, tick: TickData) -> None:
        side = self.flips.on_price(tick.last_price)
        if side is None:
            return
        target = QUANTITY if side else -QUANTITY
        units = abs(target - self.held)
        self.held = target
        # There is no market order: a limit far through the price fills at the next tick.
        if side:
            self.buy(tick.last_price * 1.1, units)
        else:
            self.short(tick.last_price * 0.9, units)


def main() -> None:
    times, paise = read_ticks()
    engine = BacktestingEngine()
    engine.output = lambda _: None
    engine.set_parameters(
        vt_symbol="YESBANK.SSE",
        interval=Interval.TICK,
        start=datetime(2019, 1, 1, tzinfo=UTC),
        end=datetime(2030, 1, 1, tzinfo=UTC),
        rate=0.0,
        slippage=0.0,
        size=1,
        pricetick=0.01,
        capital=1_000_000,
        mode=BacktestingMode.TICK,
    )
    engine.add_strategy(EmaCross, {})
    engine.history_data = [
        TickData(
            symbol="YESBANK",
            exchange=Exchange.SSE,
            datetime=datetime.fromtimestamp(at / 1e9, UTC),
            gateway_name="bench",
            last_price=p / 100,
            ask_price_1=p / 100,
            bid_price_1=p / 100,
            volume=10_000,
        )
        for at, p in zip(times, paise, strict=True)
    ]
    timed(engine.run_backtesting, lambda: engine.trade_count)


if __name__ == "__main__":
    main()
