"""What risk and strategy read for their figures: kill switches, accounts that the daily loss has stopped, strategies by state."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import text

from alphapanda.contract.topics import TopicMap
from alphapanda.risk.store.gauges import RiskGauges
from alphapanda.risk.store.postgres import PostgresRiskStore
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from alphapanda.strategy.store.gauges import StrategyGauges
from alphapanda.telemetry.gauges import DAILY_LOSS_TRIPPED, TRADING_STATE

SET = text(
    "INSERT INTO risk.kill_switches (broker, strategy_id, account, state, revision, changed_by, reason)"
    " VALUES (:broker, :strategy, :account, :state, 1, '', '')"
    " ON CONFLICT (broker, strategy_id, account) DO UPDATE SET state = excluded.state"
)


async def test_a_brokers_switch_and_its_tripped_accounts_are_told_apart(tables: str) -> None:
    """0 active, 1 reducing, 2 halted; an account that may trade again doesn't count, a strategy's switch is nobody else's."""
    engine = open_engine(tables, 2)
    outbox = Outbox("risk", TopicMap(("paper", "zerodha")))
    await PostgresRiskStore(engine, outbox, {"paper": Decimal(1)}).prepare(("paper", "zerodha"))
    async with engine.begin() as connection:
        for broker, strategy, account, state in (
            ("zerodha", "", "", 3),
            ("paper", "", "first", 2),
            ("paper", "", "second", 1),
            ("paper", "ema", "", 3),
        ):
            given = {"broker": broker, "strategy": strategy, "account": account, "state": state}
            await connection.execute(SET, given)
    points = await RiskGauges(engine).points()
    await engine.dispose()
    assert {(point.gauge, *point.labels): point.value for point in points} == {
        (TRADING_STATE, "paper"): 0,
        (TRADING_STATE, "zerodha"): 2,
        (DAILY_LOSS_TRIPPED, "paper"): 1,
        (DAILY_LOSS_TRIPPED, "zerodha"): 0,
    }


async def test_strategies_are_counted_by_state(tables: str) -> None:
    """Deleted ones aren't shown."""
    engine = open_engine(tables, 2)
    async with engine.begin() as connection:
        await connection.execute(
            text("SET LOCAL session_replication_role = replica")
        )  # without their revisions
        for number, state in enumerate((1, 1, 2, 3)):
            await connection.execute(
                text(
                    "INSERT INTO strategy.strategies (strategy_id, revision, state) VALUES (:name, 1, :state)"
                ),
                {"name": f"s{number}", "state": state},
            )
    points = await StrategyGauges(engine).points()
    await engine.dispose()
    assert {point.labels: point.value for point in points} == {("running",): 2, ("stopped",): 1}
