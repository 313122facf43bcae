"""nautilus_trader: trade ticks through its BacktestEngine, market orders, its default risk engine, no logging."""

from decimal import Decimal

from ema_cross import QUANTITY, Flips, read_ticks, timed
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TradeId, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("NSE")
INSTRUMENT = InstrumentId(Symbol("YESBANK"), VENUE)


class EmaCross(Strategy):
    def on_start(self) -> None:
        self.flips = Flips()
        self.held = 0
        self.sent = 0
        self.subscribe_trade_ticks(INSTRUMENT)

    def on_trade_tick(self, tick: TradeTick) -> None:
        side = self.flips.on_price(tick.price.as_double())
        if side is None:
            return
        target = QUANTITY if side else -QUANTITY
        units = abs(target - self.held)
        self.held = target
        self.sent += 1
        order = self.order_factory.market(
            INSTRUMENT, OrderSide.BUY if side else OrderSide.SELL, Quantity.from_int(units)
        )
        self.submit_order(order)


def main() -> None:
    engine = BacktestEngine(
        BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False)
    )
    engine.add_venue(
        venue=VENUE,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USD,
        starting_balances=[Money(1_000_000, USD)],
        trade_execution=True,
    )
    equity = Equity(
        instrument_id=INSTRUMENT,
        raw_symbol=INSTRUMENT.symbol,
        currency=USD,
        price_precision=2,
        price_increment=Price.from_str("0.01"),
        lot_size=Quantity.from_int(1),
        ts_event=0,
        ts_init=0,
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
    )
    engine.add_instrument(equity)
    times, paise = read_ticks()
    size = Quantity.from_int(10_000)
    engine.add_data(
        [
            TradeTick(INSTRUMENT, Price(p / 100, 2), size, AggressorSide.BUYER, TradeId(str(n)), at, at)
            for n, (at, p) in enumerate(zip(times, paise, strict=True))
        ]
    )
    strategy = EmaCross()
    engine.add_strategy(strategy)
    timed(engine.run, lambda: sum(order.is_closed for order in engine.cache.orders()))


if __name__ == "__main__":
    main()
