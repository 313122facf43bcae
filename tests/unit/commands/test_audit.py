"""The audit for people: when, who, what was asked and changed, and why it was refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from rich.console import Console

from alphapanda.commands.audit import entries_table, moment_of
from alphapanda.commands.console import VisibleConsole, fail
from alphapanda.commands.wording import IST
from panda.ops.v1.ops_pb2 import AuditEntry

NOW = datetime(2026, 11, 30, 15, 0, tzinfo=IST)
SET = AuditEntry(
    method="/panda.risk.v1.RiskService/SetKillSwitch",
    caller="ada",
    peer="ipv4:10.0.0.7:4000",
    request='{"request_id": "r", "broker": "paper", "state": "TRADING_STATE_HALTED", "reason": "a try"}',
    before='{"state": "ACTIVE"}',
    after='{"state": "HALTED", "note": 1}',
    outcome="OK",
    calls=1,
)


def shown(entry: AuditEntry) -> str:
    entry.started_at.FromDatetime(datetime(2026, 11, 30, 9, 15, tzinfo=UTC))
    console = Console(width=400)
    with console.capture() as captured:
        console.print(entries_table([entry]))
    return " ".join(captured.get().splitlines()[1].split())


def test_a_command_is_a_line() -> None:
    """Its time in India, who, from where, what it changed, and what else it was asked for."""
    assert shown(SET) == (
        "30 Nov 14:45:00 ada 10.0.0.7:4000 SetKillSwitch OK"
        " state ACTIVE → HALTED, note nothing → 1; broker=paper, reason=a try"
    )


def test_what_says_nothing_leaves_its_place_to_what_does() -> None:
    """Times, authors and revisions aren't changes; what a command made is told by what it asked for; lists come last."""
    started = AuditEntry(
        method="/p.S/StartStrategy", caller="ada", peer="ipv4:1.2.3.4:5", outcome="OK", request='{"strategy_id": "s"}',
        before='{"changed_at": "1", "revision": "1", "state": "STOPPED"}',
        after='{"changed_at": "2", "revision": "2", "state": "RUNNING"}',
    )  # fmt: skip
    assert shown(started).endswith("OK state STOPPED → RUNNING; strategy_id=s")
    made = AuditEntry(
        method="/p.S/CreateStrategy", caller="ada", peer="ipv4:1.2.3.4:5", outcome="OK",
        request=f'{{"parameters": {{"long": "{"9" * 200}"}}, "strategy_id": "s"}}',
        after='{"account": "default", "changed_at": "1", "revision": "1", "strategy_id": "s"}',
    )  # fmt: skip
    assert 'OK strategy_id=s, parameters={"long": "999' in shown(made)


def test_refusals_say_why_and_how_many() -> None:
    """The reason in the outcome, the message, the number of calls; what isn't known is said."""
    refused = AuditEntry(
        method="/p.R/PlaceOrder", caller="", peer="ipv4:1.2.3.4:5", outcome="UNAUTHENTICATED", reason="TOKEN_MISSING",
        message="no token", calls=1234,
    )  # fmt: skip
    assert shown(refused).endswith("1.2.3.4:5 PlaceOrder TOKEN_MISSING 1,234 no token")
    local = AuditEntry(
        method="alphapanda log repair", caller="os:panda", peer="desk", request='{"cause": "x"}'
    )
    assert shown(local).endswith("os:panda desk log repair not known cause=x")


def test_what_a_caller_wrote_is_shown_and_never_obeyed() -> None:
    """Escapes neither clear the screen nor turn the writing, and a line feed makes no row of its own."""
    forged = AuditEntry(
        method="/p.R/Login", caller="anonymous", peer="ipv4:1.2.3.4:5", outcome="UNAUTHENTICATED", calls=1,
        request='{"user_name": "\\u001b[2J\\u009b31mx\\u202ey\\nadmin 10.0.0.1 SetKillSwitch OK"}',
    )  # fmt: skip
    console = VisibleConsole(width=400)
    with console.capture() as captured:
        console.print(entries_table([forged]))
    assert len(captured.get().splitlines()) == 2
    assert all(character.isprintable() for character in captured.get().replace("\n", ""))
    assert "user_name=\N{REPLACEMENT CHARACTER}[2J" in captured.get()


def test_an_error_is_never_obeyed_either(capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal repeats what the caller wrote."""
    with pytest.raises(SystemExit):
        fail("no user '\x1b]0;pwn\x07'")
    assert capsys.readouterr().err.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("90s", NOW - timedelta(seconds=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-30", datetime(2026, 11, 30, tzinfo=IST)),
        ("2026-11-30T09:15", datetime(2026, 11, 30, 9, 15, tzinfo=IST)),
        ("2026-11-30T09:15Z", datetime(2026, 11, 30, 9, 15, tzinfo=UTC)),
    ],
)
def test_a_time_is_so_long_ago_or_a_time_in_india(given: str, moment: datetime) -> None:
    """As people say it; a zone of its own counts."""
    assert moment_of("--since", given, NOW) == moment


def test_a_wrong_time_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With what is allowed."""
    with pytest.raises((SystemExit, click.exceptions.Exit)):
        moment_of("--since", "yesterday", NOW)
    assert "--since: 'yesterday' is not allowed; 2h, 30m or 7d ago" in capsys.readouterr().err
