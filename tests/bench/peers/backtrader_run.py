"""backtrader: a feed of ticks from memory, market orders through its broker without commission, no observers."""

from datetime import UTC, datetime

import backtrader as bt
from ema_cross import QUANTITY, Flips, read_ticks, timed


class Ticks(bt.feed.DataBase):
    params = (("timeframe", bt.TimeFrame.Ticks), ("times", ()), ("prices", ()))

    def start(self) -> None:
        super().start()
        self.ticks = zip(self.p.times, self.p.prices, strict=True)

    def _load(self) -> bool:
        tick = next(self.ticks, None)
        if tick is None:
            return False
        at, price = tick
        lines = self.lines
        lines.datetime[0] = at
        lines.open[0] = lines.high[0] = lines.low[0] = lines.close[0] = price
        lines.volume[0] = 10_000
        lines.openinterest[0] = 0
        return True


class EmaCross(bt.Strategy):
    def __init__(self) -> None:
        self.flips = Flips()
        self.completed = 0

    def notify_order(self, order) -> None:
        if order.status == order.Completed:
            self.completed += 1

    def next(self) -> None:
        side = self.flips.on_price(self.data.close[0])
        if side is not None:
            self.order_target_size(target=QUANTITY if side else -QUANTITY)


def main() -> None:
    times, paise = read_ticks()
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(1_000_000)
    cerebro.broker.setcommission(commission=0.0)  # as on our side
    cerebro.adddata(
        Ticks(
            times=[bt.date2num(datetime.fromtimestamp(at / 1e9, UTC).replace(tzinfo=None)) for at in times],
            prices=[p / 100 for p in paise],
        )
    )
    cerebro.addstrategy(EmaCross)
    ran = []
    timed(lambda: ran.extend(cerebro.run()), lambda: ran[0].completed)


if __name__ == "__main__":
    main()
