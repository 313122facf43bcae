"""Users and sessions as tables."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console

from alphapanda.commands.user_tables import sessions_table
from panda.auth.v1.auth_pb2 import Session


def test_a_session_that_ends_in_a_year_says_the_year() -> None:
    """As a service account's: without it, it seems to have ended at its beginning."""
    session = Session(session_id="s", user_name="bot")
    session.created_at.FromDatetime(datetime(2026, 11, 30, 9, 15, tzinfo=UTC))
    session.expires_at.FromDatetime(datetime(2027, 11, 30, 9, 15, tzinfo=UTC))
    console = Console(width=200)
    with console.capture() as captured:
        console.print(sessions_table([session]))
    assert "30 Nov 2027 14:45:00" in captured.get()
