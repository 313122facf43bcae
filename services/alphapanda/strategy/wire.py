"""A strategy's configuration to the contract's messages."""

from __future__ import annotations

from alphapanda.eventlog.wire import envelope, timestamp
from alphapanda.strategy.store.port import StoredStrategy
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import control_pb2
from panda.events.v1.events_pb2 import Event
from panda.strategy.v1 import strategy_pb2 as api

SOURCE = "strategy"


def changed_event(
    strategy: StoredStrategy, *, event_id: str, correlation_id: str, causation_id: str
) -> Event:
    """The event of a strategy's new revision."""
    config = strategy.config
    event = envelope(
        event_id=event_id,
        correlation_id=correlation_id,
        causation_id=causation_id,
        broker="",
        source=SOURCE,
        occurred_at=strategy.changed_at,
    )
    event.strategy_changed.CopyFrom(
        control_pb2.StrategyChanged(
            strategy_id=config.strategy_id,
            revision=config.revision,
            state=control_pb2.StrategyState.ValueType(config.state),
            strategy_type=config.strategy_type,
            parameters=config.parameters,
            instruments=[
                control_pb2.StrategyInstrument(
                    instrument_id=each.instrument_id, instrument_token=each.instrument_token
                )
                for each in config.instruments
            ],
            brokers=config.brokers,
            account=config.account,
            quantity=config.quantity,
            product=common.Product.ValueType(config.product),
            signal_ttl_seconds=config.signal_ttl_seconds,
            changed_by=strategy.changed_by,
            changed_at=timestamp(strategy.changed_at),
        )
    )
    return event


def strategy_message(strategy: StoredStrategy) -> api.Strategy:
    """A strategy as its service answers with it."""
    config = strategy.config
    return api.Strategy(
        strategy_id=config.strategy_id,
        strategy_type=config.strategy_type,
        parameters=config.parameters,
        symbols=[each.symbol for each in config.instruments],
        brokers=config.brokers,
        account=config.account,
        quantity=config.quantity,
        product=common.Product.ValueType(config.product),
        signal_ttl_seconds=config.signal_ttl_seconds,
        state=control_pb2.StrategyState.ValueType(config.state),
        revision=config.revision,
        changed_by=strategy.changed_by,
        changed_at=timestamp(strategy.changed_at),
        note=strategy.note,
    )
