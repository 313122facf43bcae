"""Strategies of a YAML file: read row by row, created where there was never one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from structlog.testing import CapturingLogger

from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.api import StrategyServicer
from alphapanda.strategy.core.config import StrategyState
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.yaml_file import StrategyFallback, read_strategies
from panda.strategy.v1 import strategy_pb2 as api

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
GOOD = """# my strategies
strategies:
  - strategy_id: trend
    strategy_type: sma_cross
    parameters: {fast: 5, interval: 5m}
    symbols: [NSE:INFY, "NSE:S1"]
    quantity: 10
    product: CNC
  - strategy_id: still
    strategy_type: ema_cross
    symbols: [NSE:S2]
    quantity: ₹50,000
    start: false
"""
BAD = """strategies:
  - {strategy_id: a, strategy_type: rsi, symbols: [NSE:INFY], quantity: 1, quantiti: 2}
  - {strategy_id: B, strategy_type: rsi, symbols: [NSE:INFY], quantity: 0}
  - {strategy_id: c, strategy_type: rsj, symbols: [NSE:INFY], quantity: 1}
  - {strategy_id: d, strategy_type: rsi, symbols: [NSE:INFI], quantity: 1}
  - {strategy_id: e, strategy_type: rsi, symbols: [NSE:INFY], quantity: 1, product: XYZ}
  - {strategy_id: f, strategy_type: rsi, symbols: [NSE:INFY], quantity: 1, start: maybe}
  - rsi
  - {strategy_id: good, strategy_type: rsi, symbols: [NSE:INFY], quantity: 1, parameters: {period: 7}}
"""


@pytest.fixture
def begin(store, directory, tmp_path):
    service = StrategyServicer(
        store, StrategyRegistry(), directory, ("paper", "zerodha"), "default", 60, lambda: NOW
    )

    async def started(text):
        file = tmp_path / "strategies.yaml"
        file.write_text(text, encoding="utf-8")
        logger = CapturingLogger()
        fallback = StrategyFallback(read_strategies(file), store, service, logger)
        await fallback.start()
        await fallback.stop()
        return [call for call in logger.calls if call.method_name == "error"], service

    return started


async def test_its_strategies_are_created_and_started(begin, store) -> None:
    """With the defaults for what is absent; `start: false` leaves one stopped."""
    errors, _ = await begin(GOOD)
    assert errors == []
    trend, still = await store.get("trend"), await store.get("still")
    assert (trend.config.state, still.config.state) == (StrategyState.RUNNING, StrategyState.STOPPED)
    assert trend.config.parameters == {"interval": "5m", "fast": "5", "slow": "30"}
    assert [each.symbol for each in trend.config.instruments] == ["NSE:INFY", "NSE:S1"]
    assert trend.config.product.name == "CNC"
    assert (trend.config.quantity, trend.config.size) == (10, "")
    assert (still.config.quantity, still.config.size) == (1, "50000INR")


async def test_a_row_that_cannot_be_used_is_named_and_the_others_are_created(begin, store) -> None:
    """File, line and what is wrong."""
    errors, _ = await begin(BAD)
    told = [call.kwargs["error"].partition("strategies.yaml:")[2] for call in errors]
    for line, (error, words) in enumerate(
        zip(
            told,
            ["quantiti", "strategy_id", "did you mean 'rsi'", "did you mean 'NSE:INFY'", "PRODUCT_XYZ", "'maybe'", "'rsi' is not a strategy"],
            strict=True,
        ),
        start=2,
    ):  # fmt: skip
        assert error.startswith(f"{line}: "), error
        assert words in error
    assert "quantity" in told[1], "all that is wrong with a row is told at once"
    assert [each.strategy_id for each in await store.current()] == ["good"]


async def test_it_is_only_for_a_service_that_never_had_a_strategy(begin, store) -> None:
    """Not even a deleted one comes back; starting again changes nothing."""
    _, service = await begin(GOOD)
    await service.DeleteStrategy(api.DeleteStrategyRequest(request_id="d", strategy_id="still"), None)
    await begin(GOOD + "  - {strategy_id: more, strategy_type: rsi, symbols: [NSE:S3], quantity: 1}\n")
    assert (await store.get("still")).config.state is StrategyState.DELETED
    assert await store.get("more") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("strategies: [", "line 1"),
        ("", "a list named strategies"),
        ("strategies: 5", "a list named strategies"),
        ("strategies: []\nlimits: 3", "it has 'limits' too"),
    ],
)
def test_a_file_that_is_no_list_of_strategies_is_bad_input(text, words, tmp_path) -> None:
    """The setting, the file and what is allowed."""
    file = tmp_path / "strategies.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=words) as caught:
        read_strategies(file)
    assert caught.value.field == "strategy.yaml"
    with pytest.raises(InvalidInput, match="No such file"):
        read_strategies(tmp_path / "nowhere.yaml")
