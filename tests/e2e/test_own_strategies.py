"""A strategy outside the package and shipped ones on bars: `up` and `replay` end with the same books."""

from __future__ import annotations

import asyncio
import random
import re
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from alphapanda.app.embedded import Embedded
from alphapanda.app.replay import WantedStrategy, build_replay
from alphapanda.app.up_options import UpOptions
from alphapanda.mesh.channel import open_channel
from alphapanda.settings.sources import load_settings
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.strategy.v1 import strategy_pb2 as strategy
from panda.strategy.v1.strategy_pb2_grpc import StrategyServiceStub

SERVICES = ["panda.strategy.v1.StrategyService", "panda.portfolio.v1.PortfolioService"]
README = Path(__file__).parents[2] / "services" / "alphapanda" / "strategy" / "README.md"
EXAMPLE = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
WANTED = {
    "high_water": {"interval": "5m", "bars": "3"},
    "sma_cross": {"interval": "3m", "fast": "2", "slow": "5"},
    "vwap_reversion": {"interval": "1m", "entry_percent": "0.2", "exit_percent": "0.05"},
    "momentum": {"interval": "1d", "lookback": "1", "threshold_percent": "0"},
}


def sessions(folder: Path) -> Path:
    """One-minute bars of three days, some minutes without a trade, so that market time alone closes bars too."""
    walk, price = random.Random(5), 30_000
    lines = ["datetime_ist,open,high,low,close,volume"]
    for day in ("2025-03-10", "2025-03-11", "2025-03-12"):
        at = datetime.fromisoformat(f"{day}T09:15:00")
        for _ in range(375):
            price = max(price + 5 * walk.choice((-6, -3, -1, 0, 1, 3, 6)), 5)
            close = f"{price / 100:.2f}"
            if walk.random() < 0.8:
                lines.append(f"{at:%Y-%m-%d %H:%M:%S},{close},{close},{close},{close},{walk.randint(1, 90)}")
            at += timedelta(minutes=1)
    file = folder / "bars.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


async def lived_through(file: Path, folder: Path, yaml: Path, data_dir: Path):
    """(net cash, strategies) of the embedded process after the recording; its strategies come from a YAML file."""
    settings = load_settings({}, api={"port": 0}, strategy={"folder": folder, "yaml": yaml})
    embedded = Embedded(settings, UpOptions(data_dir=data_dir, feed=f"replay:{file}", instrument="NSE:INFY"))
    await embedded.start()
    try:
        async with open_channel(embedded.target, SERVICES) as channel:
            await asyncio.wait_for(embedded.feeding.publisher.finished.wait(), 540)
            found = await StrategyServiceStub(channel).ListStrategies(strategy.ListStrategiesRequest())
            shown = await PortfolioServiceStub(channel).GetPortfolio(portfolio.GetPortfolioRequest())
            return shown.portfolio, {each.strategy_id: each.note for each in found.strategies}
    finally:
        await embedded.stop()


async def test_both_ways_end_with_the_same_books(tmp_path) -> None:
    """The README's strategy from a folder, three shipped ones on bars of 1m, 3m and a day: the same to the paisa."""
    file, mine = sessions(tmp_path), tmp_path / "mine"
    mine.mkdir()
    (mine / "high_water.py").write_text(EXAMPLE, encoding="utf-8")
    (mine / "broken.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    rows = [
        f"  - {{strategy_id: {name}, strategy_type: {name}, symbols: ['NSE:INFY'], quantity: 20, parameters: {values}}}"
        for name, values in WANTED.items()
    ]
    yaml = tmp_path / "strategies.yaml"
    yaml.write_text("\n".join(["strategies:", *rows]) + "\n", encoding="utf-8")
    bad = []
    run = build_replay(
        [file],
        [WantedStrategy(name, values, quantity=20) for name, values in WANTED.items()],
        instrument="NSE:INFY",
        strategies_folder=mine,
        on_bad_file=bad.append,
    )
    run.replay.run(run.frames)
    assert [each.path.name for each in bad] == ["broken.py"]
    assert run.replay.tally.fills > 100
    shown, notes = await lived_through(file, mine, yaml, tmp_path / "data")
    assert notes == dict.fromkeys(WANTED, "")
    statement = run.replay.statement()
    assert Decimal(shown.cash.amount.value) == statement.cash
    assert Decimal(shown.profit.realised_pnl.amount.value) == statement.profit.realised
    assert Decimal(shown.profit.charges.amount.value) == statement.profit.charges
    assert Decimal(shown.equity.amount.value) == statement.equity
