"""Makes the signals that close the positions of an earlier revision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from alphapanda.domain import ids
from alphapanda.domain.frame import Frame
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.strategy.core.config import StrategyConfig

BEFORE_ALL_TICKS: Final = -1


def flattening_signals(config: StrategyConfig, brokers: Sequence[str], frame: Frame) -> list[Signal]:
    """Makes a signal with target 0 for each instrument that the configuration flattens, at each broker.

    In their ids the instrument's token takes the place of a number, because no tick of the frame causes them.
    """
    held = config.flattens
    if held is None:
        return []
    frame_id, market_time = frame.frame_id, frame.market_time
    return [
        Signal(
            signal_id=ids.signal_id(
                config.strategy_id,
                config.revision,
                frame_id,
                BEFORE_ALL_TICKS,
                instrument.instrument_token,
                broker,
            ),
            correlation_id=frame_id,
            causation_id=frame_id,
            key=PositionKey(
                broker, config.account, config.strategy_id, instrument.instrument_id, held.product
            ),
            instrument_token=instrument.instrument_token,
            config_revision=config.revision,
            target=0,
            side=None,
            quantity=None,
            terms=AT_MARKET,
            market_time=market_time,
            valid_until=market_time + timedelta(seconds=config.signal_ttl_seconds),
            reason=f"revision {held.revision} flattens what the one before held",
        )
        for instrument in held.instruments
        for broker in brokers
    ]
