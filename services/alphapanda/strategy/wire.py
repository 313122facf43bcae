"""Converts strategies to the contract's messages."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from alphapanda.contract.wire import envelope, timestamp
from alphapanda.strategy.core.basket import BasketStrategy
from alphapanda.strategy.core.strategy import Strategy
from alphapanda.strategy.store.port import StoredStrategy
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import control_pb2
from panda.events.v1.events_pb2 import Event
from panda.strategy.v1 import strategy_pb2 as api

SOURCE = "strategy"


def changed_event(
    strategy: StoredStrategy, *, event_id: str, correlation_id: str, causation_id: str
) -> Event:
    """The StrategyChanged event of a new revision."""
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
            size=config.size,
        )
    )
    return event


def strategy_message(strategy: StoredStrategy, warm_up_missing: int = 0) -> api.Strategy:
    """The message of a strategy."""
    config = strategy.config
    return api.Strategy(
        strategy_id=config.strategy_id,
        strategy_type=config.strategy_type,
        parameters=config.parameters,
        symbols=[each.symbol for each in config.instruments],
        brokers=config.brokers,
        account=config.account,
        quantity=0 if config.size else config.quantity,
        size=config.size,
        product=common.Product.ValueType(config.product),
        signal_ttl_seconds=config.signal_ttl_seconds,
        state=control_pb2.StrategyState.ValueType(config.state),
        revision=config.revision,
        changed_by=strategy.changed_by,
        changed_at=timestamp(strategy.changed_at),
        note=strategy.note,
        warm_up_missing=warm_up_missing,
    )


_KINDS = {
    "integer": api.PARAMETER_KIND_INTEGER,
    "number": api.PARAMETER_KIND_NUMBER,
    "boolean": api.PARAMETER_KIND_BOOLEAN,
}


def type_message(strategy_type: type[Strategy[Any]]) -> api.StrategyType:
    """The message of a strategy type, with its parameters."""
    model = strategy_type.parameters_model
    return api.StrategyType(
        strategy_type=strategy_type.type_name,
        description=inspect.getdoc(strategy_type) or "",
        on_bars=strategy_type.interval_of(model()) is not None,
        wants_position=strategy_type.wants_position,
        least_symbols=strategy_type.least_symbols if issubclass(strategy_type, BasketStrategy) else 0,
        most_symbols=strategy_type.most_symbols if issubclass(strategy_type, BasketStrategy) else 0,
        warm_up=strategy_type.warm_up(model()),
        parameters=[
            _parameter(name, schema)
            for name, schema in model.model_json_schema().get("properties", {}).items()
        ],
    )


def _parameter(name: str, schema: Mapping[str, Any]) -> api.StrategyParameter:
    choices = [str(each) for each in schema.get("enum", ())]
    kind = _KINDS.get(schema.get("type", ""), api.PARAMETER_KIND_TEXT)
    return api.StrategyParameter(
        name=name,
        kind=api.PARAMETER_KIND_CHOICE if choices else kind,
        default_value=str(schema.get("default", "")),
        minimum=str(schema.get("minimum", schema.get("exclusiveMinimum", ""))),
        minimum_excluded="exclusiveMinimum" in schema,
        maximum=str(schema.get("maximum", schema.get("exclusiveMaximum", ""))),
        maximum_excluded="exclusiveMaximum" in schema,
        choices=choices,
        description=schema.get("description", ""),
    )
