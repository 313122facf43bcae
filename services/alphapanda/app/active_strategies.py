"""Checks the strategies that will run: their types, instruments and brokers are there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from alphapanda.app.preflight import StartCheck
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.strategy.core.config import StrategyConfig, StrategyState

_NAMED: Final = 3
"""How many problems a check names."""


def check_strategies(
    configs: Sequence[StrategyConfig],
    types: Collection[str],
    directory: InstrumentDirectory,
    enabled: Collection[str],
    *,
    demo: bool = False,
) -> StartCheck:
    """Checks the running strategies. A problem doesn't block the start: the strategies that it concerns won't trade, others will.

    Args:
        configs: all strategies that aren't deleted.
        types: the known types.
        directory: the known instruments.
        enabled: the brokers that may get orders.
        demo: whether the demo's strategies are started with the services.
    """
    running = [config for config in configs if config.state is StrategyState.RUNNING]
    stopped = sum(config.state is StrategyState.STOPPED for config in configs)
    counted = f"{len(running)} running" + (f", {stopped} stopped" if stopped else "")
    if not running and demo:
        return StartCheck("strategies", f"{counted}; the demo's start next", passed=True, blocks=False)
    if not running:
        return StartCheck(
            "strategies", f"{counted}: nothing trades before one is started", passed=False, blocks=False
        )
    problems = [text for config in running for text in _problems(config, types, directory, enabled)]
    if not problems:
        return StartCheck("strategies", counted, passed=True, blocks=False)
    named = "; ".join(problems[:_NAMED]) + (f"; and {len(problems) - _NAMED} more" * (len(problems) > _NAMED))
    return StartCheck("strategies", f"{counted}; {named}", passed=False, blocks=False)


def _problems(
    config: StrategyConfig, types: Collection[str], directory: InstrumentDirectory, enabled: Collection[str]
) -> Iterator[str]:
    """What keeps a strategy from trading as configured, a sentence each."""
    if config.strategy_type not in types:
        yield f"{config.strategy_id}: type {config.strategy_type!r} isn't known"
    for instrument in config.instruments:
        if directory.by_id(instrument.instrument_id) is None:
            yield f"{config.strategy_id}: {instrument.instrument_id} isn't listed"
    for broker in config.brokers:
        if broker not in enabled:
            yield f"{config.strategy_id}: broker {broker!r} is off"
