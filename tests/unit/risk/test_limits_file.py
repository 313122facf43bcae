"""Limits from a file, and a replay under them."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from alphapanda.app.replay import WantedStrategy, build_replay
from alphapanda.domain.errors import InvalidInput
from alphapanda.instruments.core import shipped_instruments
from alphapanda.risk.core.scoped_limits import LimitScope
from alphapanda.risk.limits_file import read_limits

DIRECTORY = shipped_instruments(date.max)
TOML = """
[account]
max_daily_loss = 5000.50
[strategies.ema_cross]
max_order_quantity = 10
[instruments."NSE:INFY"]
max_position_value = "off"
[strategies.ema_cross.instruments."NSE:INFY"]
max_order_quantity = 5
"""
YAML = """
account:
  max_daily_loss: 5000.50
strategies:
  ema_cross:
    max_order_quantity: 10
    instruments:
      "NSE:INFY": {max_order_quantity: 5}
instruments:
  "NSE:INFY":
    max_position_value: off
"""


@pytest.mark.parametrize(("suffix", "text"), [("toml", TOML), ("yaml", YAML)])
def test_both_formats_say_the_same(tmp_path, suffix, text) -> None:
    """Every scope, values as they were written."""
    file = tmp_path / f"limits.{suffix}"
    file.write_text(text)
    found = read_limits(file, ["ema_cross"], DIRECTORY)
    assert [(row.scope, row.name, row.text) for row in found.rows] == [
        (LimitScope(), "max_daily_loss", "5000.50"),
        (LimitScope("", "NSE:INFY"), "max_position_value", "off"),
        (LimitScope("ema_cross"), "max_order_quantity", "10"),
        (LimitScope("ema_cross", "NSE:INFY"), "max_order_quantity", "5"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.toml", "[account]\nmax_ordr_value = 1\n", "l.toml: account.max_ordr_value: .*did you mean 'max_order_value'"),
        ("l.toml", "[account]\nmax_order_value = 'lots'\n", "account.max_order_value: 'lots'.*rupees > 0"),
        ("l.yaml", "account:\n  max_order_value: -1\n", "l.yaml:2: account.max_order_value: '-1'"),
        ("l.yaml", "strategies:\n  rsi:\n    max_order_value: 1\n", "l.yaml:3: .*'rsi'.*allowed: ema_cross"),
        ("l.yaml", "instruments:\n  NSE:NOBODY:\n    max_order_value: 1\n", "NSE:NOBODY"),
        ("l.toml", "[strategies.ema_cross]\nmax_daily_loss = 1\n", "an account, not for strategy ema_cross"),
        ("l.toml", "[accounts]\nmax_daily_loss = 1\n", "did you mean 'account'"),
        ("l.toml", "max_daily_loss = 1\n", "allowed: account, instruments, strategies"),
        ("l.yaml", "account: [1]\n", "l.yaml:1: .*a table of limits"),
        ("l.toml", "[account\n", "a readable TOML"),
        ("l.txt", "", "a readable TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_field_and_what_is_allowed(tmp_path, name, text, said) -> None:
    """A file that can't be used is refused by one clear error."""
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=said):
        read_limits(tmp_path / name, ["ema_cross"], DIRECTORY)
    with pytest.raises(InvalidInput, match="No such file"):
        read_limits(tmp_path / "none.toml", [], DIRECTORY)


@pytest.fixture
def ticks(tmp_path):
    """Minutes that jump up and down, so that moving averages cross often, and always too late."""
    file = tmp_path / "ticks.csv"
    began = datetime(2024, 1, 2, 9, 20, tzinfo=ZoneInfo("Asia/Kolkata"))
    lines = ["datetime_ist,open,high,low,close,volume"]
    for n in range(240):
        price = 1500 + n // 6 % 2 * 4
        at = began + timedelta(minutes=n)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S},{price},{price},{price},{price},100")
    file.write_text("\n".join(lines) + "\n")
    return file


def _rejected(ticks, tmp_path, text: str) -> tuple[Counter[str], int]:
    limits = None
    if text:
        limits = tmp_path / "limits.toml"
        limits.write_text(text)
    wanted = WantedStrategy("ema_cross", {"fast": "2", "slow": "4"}, ("NSE:INFY",), 10)
    run = build_replay([ticks], [wanted], instrument="NSE:INFY", limits=limits)
    run.replay.run(run.frames)
    return run.replay.tally.rejected, run.replay.tally.orders


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ("[account]\nmax_daily_trades = 4\n", "DAILY_TRADES"),
        ("[account]\nmax_daily_loss = 20\n", "DAILY_LOSS"),
        ("[account]\nmax_gross_exposure = 10000\n", "GROSS_EXPOSURE"),
        ("[account]\nmax_order_rate = 1\norder_rate_window = 3600\n", "ORDER_RATE"),
        ("[strategies.ema_cross]\nmax_strategy_daily_trades = 4\n", "DAILY_TRADES"),
        ('[instruments."NSE:INFY"]\nmax_position_value = 10000\n', "POSITION_VALUE"),
        ('[strategies.ema_cross.instruments."NSE:INFY"]\ncooldown_losses = 1\ncooldown = 9000\n', "COOLDOWN"),
        ("[account]\nmax_order_value = 10000\n", "ORDER_VALUE"),
    ],
)
def test_a_replay_keeps_to_the_limits_of_a_file(ticks, tmp_path, limits, reason) -> None:
    """The same core refuses in a replay what it would refuse in a running platform; without the file nothing is."""
    free, orders = _rejected(ticks, tmp_path, "")
    assert not free
    assert orders > 8
    rejected, fewer = _rejected(ticks, tmp_path, limits)
    assert set(rejected) == {reason}
    assert fewer < orders
