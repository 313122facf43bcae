"""`up --feed replay:FILE` and `replay FILE` end with the same books."""

from __future__ import annotations

import asyncio
import os
import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from alphapanda.app.embedded import Embedded
from alphapanda.app.instruments import known_instruments, registry_of
from alphapanda.app.replay import WantedStrategy, build_replay
from alphapanda.app.up_options import UpOptions
from alphapanda.contract.topics import shard_of
from alphapanda.instruments.core import shipped_facts, shipped_instruments
from alphapanda.instruments.importing import Wanted, add_instrument
from alphapanda.mesh.channel import open_channel
from alphapanda.settings.sources import load_settings
from panda.common.v1 import common_pb2 as common
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub

DAYS = ("2025-03-12", "2025-03-13", "2025-03-17")
STRATEGIES = {
    "ema_cross": {"fast": "3", "slow": "6"},
    "careful": {"risk": "0.4"},
    "sma_cross": {"fast": "2", "slow": "5"},
}
CASH = 30_000
"""Enough for all at first, which block 6,000 rupees each; charges eat it up, and they compete for what is left."""
SPREAD = {"lookback": "10", "entry": "1.5", "exit": "0.5"}
SERVICES = ["panda.portfolio.v1.PortfolioService"]


def three_sessions(folder: Path) -> Path:
    """One-minute bars of three trading days (with a holiday and a weekend between), a seeded walk on the grid.

    One minute in ten has no bar, and no bar opens where the one before closed. On the first day the second bar opens
    fifteen rupees higher.
    """
    walk, price = random.Random(11), 30_000
    lines = ["datetime_ist,open,high,low,close,volume"]
    for day in DAYS:
        at = datetime.fromisoformat(f"{day}T09:15:00")
        for minute in range(375):
            open_ = price + 5 * walk.choice((-2, -1, 1, 2)) + 1500 * ((day, minute) == (DAYS[0], 1))
            price = max(price + 5 * walk.choice((-6, -3, -1, 0, 1, 3, 6)), 5)
            prices = (open_, max(open_, price) + 10, min(open_, price) - 10, price)
            _, _, _, close = shown = [f"{one / 100:.2f}" for one in prices]
            if walk.random() < 0.9:
                lines.append(f"{at:%Y-%m-%d %H:%M:%S},{','.join(shown)},100")
            at += timedelta(minutes=1)
        lines.append(f"{day} 15:40:00,{close},{close},{close},{close},0")
    file = folder / "three.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def one_session_beside(folder: Path) -> Path:
    """Two hours of one-minute bars of another instrument on the first of these days, on a walk of its own."""
    walk, price = random.Random(5), 30_000
    lines = ["datetime_ist,open,high,low,close,volume"]
    at = datetime.fromisoformat(f"{DAYS[0]}T09:15:00")
    for minute in range(120):
        price += 5 * walk.choice((-6, -3, -1, 0, 1, 3, 6))
        shown = f"{price / 100:.2f}"
        lines.append(
            f"{at + timedelta(minutes=minute):%Y-%m-%d %H:%M:%S},{shown},{shown},{shown},{shown},100"
        )
    file = folder / "beside.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


PAIR = ("NSE:INFY", "BSE:BESIDE")


def add_beside() -> None:
    """Adds the second instrument of the pair, whose ticks are on another partition than those of the first."""
    settings = load_settings(os.environ)
    day = date(2025, 3, 10)
    add_instrument(registry_of(settings), shipped_instruments(day), Wanted(PAIR[1]), day, shipped_facts())
    tokens = [known_instruments(settings, day).require_symbol(each, "").instrument_token for each in PAIR]
    assert len(set(map(shard_of, tokens))) == len(PAIR)


CAREFUL = '''
from alphapanda.strategy import Bar, BarParameters, BarStrategy, Field, Stance, Wish


class Parameters(BarParameters):
    risk: float = Field(0.3, gt=0, le=50, description="percent of the average price that may be lost, or won")


class Careful(BarStrategy[Parameters]):
    """Buys on a rise while it holds nothing; leaves at a stop or a target, both from what it paid."""

    type_name, parameters_model = "careful", Parameters
    wants_position = True

    def __init__(self, parameters: Parameters) -> None:
        self.risk = parameters.risk / 100
        self.close = 0.0

    def on_bar(self, bar: Bar) -> Wish | None:
        before, self.close = self.close, bar.close
        position = self.context.position
        if self.context.open_orders:
            return None
        if position.quantity == 0:
            return Wish(Stance.LONG, "a rise") if 0 < before < bar.close else Wish(Stance.FLAT, "nothing")
        if abs(bar.close / position.average_price - 1) < self.risk:
            return None
        return Wish(Stance.FLAT, f"{bar.close} is too far from {position.average_price:.4f}")
'''

ALL_IN = '''
from alphapanda.strategy import Bar, BarParameters, BarStrategy, Stance, Wish


class AllIn(BarStrategy[BarParameters]):
    """Buys at the first bar of a day and sells at the second."""

    type_name, parameters_model = "all_in", BarParameters

    def __init__(self, parameters: BarParameters) -> None:
        self.day = None

    def on_bar(self, bar: Bar) -> Wish | None:
        before, self.day = self.day, bar.day_open_ns
        return Wish(Stance.FLAT if before == self.day else Stance.LONG, "the day")
'''


PATIENT = '''
from alphapanda.strategy import At, Bar, BarParameters, BarStrategy, Field, Stance, Target


class Parameters(BarParameters):
    away: float = Field(0.1, gt=0, le=5, description="percent from the close at which it asks")


class Patient(BarStrategy[Parameters]):
    """Asks below the close and stops its loss, or sells above what it paid: by turns, each order for the day."""

    type_name, parameters_model = "patient", Parameters
    wants_position = True

    def __init__(self, parameters: Parameters) -> None:
        self.away = parameters.away / 100
        self.turn = 0

    def on_bar(self, bar: Bar) -> Target | None:
        held = self.context.position.quantity
        if self.context.open_orders:
            return None
        self.turn += 1
        below, above = bar.close * (1 - self.away), bar.close * (1 + self.away)
        if held == 0:
            if self.turn % 5 == 0:
                return Target(Stance.LONG, "breaks out", At(limit=above * 1.001, trigger=above))
            if self.turn % 7 == 0:
                return Target(Stance.LONG, "now or never", At(limit=bar.close, or_cancel=True))
            return Target(Stance.LONG, "a dip", At(limit=below))
        if self.turn % 3 == 0:
            return Target(Stance.FLAT, "stopped", At(trigger=below))
        return Target(Stance.FLAT, "won", At(limit=above))
'''

BRACKETED = '''
from alphapanda.strategy import Bar, BarParameters, BarStrategy, Protect, Stance, Target


class Bracketed(BarStrategy[BarParameters]):
    """Follows each third bar of its first hours, with a stop that trails and sometimes a target."""

    type_name, parameters_model = "bracketed", BarParameters

    def __init__(self, parameters: BarParameters) -> None:
        self.bars = 0

    def on_bar(self, bar: Bar) -> Target | None:
        self.bars += 1
        if self.bars % 3 or self.bars > 260:
            return None
        if self.bars % 30 == 0:
            return Target(Stance.FLAT, "out")
        sign = 1 if bar.close >= bar.open else -1
        target = bar.close + sign * 0.6 if self.bars % 2 else None
        protect = Protect(stop_loss=bar.close - sign * 0.4, target=target, trail=0.5)
        return Target(Stance(sign), "", protect=protect)
'''


async def lived_through(
    feed: str, yaml: Path, data_dir: Path, folder: Path
) -> tuple[portfolio.Portfolio, list[portfolio.Fill]]:
    """The books of the embedded process after the recording; its strategies run before that begins."""
    settings = load_settings(
        {},
        instruments={"file": os.environ["ALPHAPANDA_INSTRUMENTS__FILE"]},
        api={"port": 0},
        strategy={"folder": folder, "yaml": yaml},
        paper_trading={"starting_cash": CASH},
    )
    embedded = Embedded(settings, UpOptions(data_dir=data_dir, feed=feed, instrument="NSE:INFY"))
    await embedded.start()
    try:
        async with open_channel(embedded.target, SERVICES) as channel:
            books = PortfolioServiceStub(channel)
            # A recording moves in lockstep: when it has ended, nothing is in work.
            await asyncio.wait_for(embedded.feeding.publisher.finished.wait(), 540)
            fills, token = [], ""
            while True:
                page = await books.ListFills(portfolio.ListFillsRequest(page_size=500, page_token=token))
                fills += page.fills
                token = page.next_page_token
                if not token:
                    break
            answer = await books.GetPortfolio(portfolio.GetPortfolioRequest())
            return answer.portfolio, fills[::-1]
    finally:
        await embedded.stop()


async def test_both_ways_end_with_the_same_books(tmp_path, monkeypatch):
    """Over three sessions every fill, the cash, the profit and the charges agree to the paisa.

    The purse becomes too small for all, and the same entries go unpaid. One of the strategies is a file of the user's that
    reads its position: it buys only while it holds nothing, and leaves by what it paid on average. Another one trades two
    instruments against each other. Another one buys delivery for all the cash, which a gap makes too dear. Another one asks
    for limits and stops, which rest.
    """
    file, beside = three_sessions(tmp_path), Path(f"{PAIR[1]}={one_session_beside(tmp_path)}")
    monkeypatch.setenv("ALPHAPANDA_INSTRUMENTS__FILE", str(tmp_path / "instruments.db"))
    add_beside()
    folder = tmp_path / "strategies"
    folder.mkdir()
    (folder / "careful.py").write_text(CAREFUL)
    (folder / "all_in.py").write_text(ALL_IN)
    (folder / "patient.py").write_text(PATIENT)
    (folder / "bracketed.py").write_text(BRACKETED)
    monkeypatch.setenv("ALPHAPANDA_PAPER_TRADING__STARTING_CASH", str(CASH))
    replayed = []
    run = build_replay(
        [file, beside],
        [
            *(WantedStrategy(name, parameters, quantity=100) for name, parameters in STRATEGIES.items()),
            WantedStrategy("pairs", SPREAD, PAIR, quantity=10),
            WantedStrategy("all_in", {}, quantity="100%", product="CNC"),
            WantedStrategy("patient", {}, quantity=1),
            WantedStrategy("bracketed", {}, quantity=10),
        ],
        instrument="NSE:INFY",
        on_fill=lambda filled, realised: replayed.append(
            (
                filled.order.key.strategy_id,
                filled.fill.traded_at,
                filled.order.side.name,
                filled.fill.quantity,
                filled.fill.price,
                filled.fill.commission,
                realised,
            )
        ),
        strategies_folder=folder,
    )
    run.replay.run(run.frames)
    assert run.replay.tally.fills >= 200
    tally = run.replay.tally
    assert tally.unpaid >= 20
    assert (
        tally.orders - tally.fills - tally.expired - tally.held - tally.cancelled == 1
    )  # not paid at the open
    assert tally.cancelled >= 10
    assert [fill[2] for fill in replayed if fill[0] == "all_in"] == ["BUY", "SELL"] * 2
    careful = [fill for fill in replayed if fill[0] == "careful"]
    assert len(careful) >= 40
    assert [fill[2] for fill in careful] == ["BUY", "SELL"] * (len(careful) // 2)
    assert len([fill for fill in replayed if fill[0] == "patient"]) >= 20
    rows = [
        f"  - {{strategy_id: {name}, strategy_type: {name}, symbols: ['NSE:INFY'], quantity: 100, parameters: {values}}}"
        for name, values in STRATEGIES.items()
    ]
    rows.append(
        f"  - {{strategy_id: pairs, strategy_type: pairs, symbols: {list(PAIR)}, quantity: 10, parameters: {SPREAD}}}"
    )
    rows.append(
        "  - {strategy_id: all_in, strategy_type: all_in, symbols: ['NSE:INFY'], quantity: 100%, product: CNC}"
    )
    rows.append("  - {strategy_id: patient, strategy_type: patient, symbols: ['NSE:INFY'], quantity: 1}")
    rows.append("  - {strategy_id: bracketed, strategy_type: bracketed, symbols: ['NSE:INFY'], quantity: 10}")
    yaml = tmp_path / "strategies.yaml"
    yaml.write_text("\n".join(["strategies:", *rows]) + "\n", encoding="utf-8")
    shown, fills = await lived_through(f"replay:{file},{beside}", yaml, tmp_path / "data", folder)
    lived = [
        (
            fill.strategy_id,
            fill.traded_at.ToDatetime(tzinfo=replayed[0][1].tzinfo),
            common.Side.Name(fill.side).removeprefix("SIDE_"),
            fill.quantity,
            Decimal(fill.price.value),
            Decimal(fill.commission.amount.value),
            Decimal(fill.realised_pnl.amount.value),
        )
        for fill in fills
    ]
    assert [fill for fill in lived if fill[0] == "careful"] == careful
    assert len([fill for fill in lived if fill[0] == "pairs"]) >= 10
    assert sorted(lived) == sorted(replayed)
    statement = run.replay.statement()
    assert Decimal(shown.cash.amount.value) == statement.cash
    assert Decimal(shown.profit.realised_pnl.amount.value) == statement.profit.realised
    assert Decimal(shown.profit.charges.amount.value) == statement.profit.charges
    by_line = {line.name: Decimal(line.amount.value) for line in shown.profit.charge_lines}
    assert by_line == {line.name: line.amount for line in statement.profit.lines.lines}
    assert {"brokerage", "stt", "gst"} <= by_line.keys()
    assert Decimal(shown.equity.amount.value) == statement.equity
