"""What `alphapanda up` says at its end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from alphapanda.commands import stopping
from alphapanda.commands.summary import Summary, summary_lines

RUN = Summary("paper/default", 1234, True, Decimal("-12.5"), Decimal("1300.05"), Decimal("1001300.05"))  # noqa: FBT003


def test_the_summary_says_what_was_traded_where_it_lies_and_how_to_go_on() -> None:
    """Orders and fills of the run, the account's day, the folder, and the command that goes on."""
    assert summary_lines(RUN, 1230, timedelta(hours=1, seconds=61), "~/data", None) == [
        "ran for 1:01:01: 1,234 orders, 1,230 fills",
        "paper/default: day's P&L -12.50, net P&L 1,300.05, equity 1,001,300.05",
        "data and logs are in ~/data",
        "`alphapanda up` goes on where this run ended; with --fresh it starts over",
    ]


def test_a_chosen_folder_is_in_the_command_and_unknown_profit_is_said() -> None:
    """Where the services don't answer any more, the rest is said all the same."""
    said = summary_lines(None, 1, timedelta(seconds=5), "/srv/a b", Path("/srv/a b"))
    assert said[0] == "ran for 0:00:05: 1 fill"
    assert said[1] == "profit and loss are not known: the services did not answer any more"
    assert said[3].startswith("`alphapanda up --data-dir '/srv/a b'` goes on")


async def test_a_stop_that_takes_long_says_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is named while it is being stopped, and the same ones aren't said twice."""
    monkeypatch.setattr(stopping, "SAY_SECONDS", 0.01)
    ending, said, go_on = ["risk.signals", "outbox relay"], [], asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 1:
            ending.pop()
        else:
            go_on.set()

    async def stop() -> None:
        await go_on.wait()

    with capture_logs() as log:
        await stopping.stopped(stop(), lambda: ending, say)
    assert said == [
        "stopping: waiting for outbox relay, risk.signals",
        "stopping: waiting for risk.signals",
    ]
    assert [entry["parts"] for entry in log] == [["outbox relay", "risk.signals"], ["risk.signals"]]
