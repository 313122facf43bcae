"""Numbers for people: as in India on a terminal, in thousands elsewhere or by --plain-numbers."""

from __future__ import annotations

from decimal import Decimal

import click
import pytest
from click.testing import CliRunner

from alphapanda import cli
from alphapanda.commands import wording


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        is_terminal = True

    monkeypatch.setattr(wording, "out", Terminal())


def test_a_terminal_shows_numbers_as_in_india(on_a_terminal) -> None:
    """Columns have no sign, amounts that stand alone have it."""
    assert wording.rupees(Decimal("1500000.5")) == "15,00,000.50"
    assert wording.money(Decimal("1500000.5")) == "₹15,00,000.50"
    assert wording.gain(Decimal(-150000), alone=True).plain == "-₹1,50,000.00"
    assert wording.gain(Decimal(150000)).plain == "+1,50,000.00"
    assert wording.count(123456) == "1,23,456"


def test_a_pipe_gets_thousands() -> None:
    """What isn't a terminal gets what it always got."""
    assert wording.money(Decimal("1500000.5")) == "1,500,000.50"


@pytest.mark.parametrize("arguments", [["--plain-numbers", "settings"], ["settings", "--plain-numbers"]])
def test_plain_numbers_stands_before_or_after_a_command(on_a_terminal, monkeypatch, arguments) -> None:
    """It holds for that run only."""

    @click.command()
    def settings() -> None:
        click.echo(wording.money(Decimal(100000)))

    monkeypatch.setattr(cli.Commands, "get_command", lambda _group, _ctx, _name: settings)
    assert CliRunner().invoke(cli.main, arguments, catch_exceptions=False).output == "100,000.00\n"
    assert CliRunner().invoke(cli.main, ["settings"]).output == "₹1,00,000.00\n"
