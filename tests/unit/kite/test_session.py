"""The session at Zerodha, and following it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alphapanda.kite.session import KiteSession, NoSession, SessionFollower, expiry_of

NOON = datetime(2026, 12, 1, 6, 30, tzinfo=UTC)
TOKEN = "made-up-1"
LIVE = KiteSession("default", 1, "s1", "key", TOKEN, NOON + timedelta(hours=12), "XY1234")


class Clock:
    """A wall time that a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize(
    ("opened", "ends"),
    [
        ("2026-12-01T05:59:59+05:30", "2026-12-01T06:00:00+05:30"),
        ("2026-12-01T06:00:00+05:30", "2026-12-02T06:00:00+05:30"),
        ("2026-12-01T23:30:00+00:00", "2026-12-02T00:30:00+00:00"),
        ("2026-12-31T18:00:00+05:30", "2027-01-01T06:00:00+05:30"),
    ],
)
def test_a_session_ends_at_the_next_six_in_india(opened: str, ends: str) -> None:
    """A login before 06:00 IST lasts until then, one at 06:00 or later until the next day's."""
    assert expiry_of(datetime.fromisoformat(opened)) == datetime.fromisoformat(ends)


def test_without_a_session_a_call_is_refused_with_what_to_do() -> None:
    """Who needs a token where there is none is told the account, and the command that signs in."""
    with pytest.raises(NoSession, match=r"account second: nobody is signed in .* `alphapanda kite login`"):
        SessionFollower("second", Clock()).require()


def test_a_session_past_its_end_has_no_token() -> None:
    """At 06:00 nobody needs to be told: the token isn't handed out any more."""
    clock = Clock()
    follower = SessionFollower("default", clock)
    follower.put(LIVE)
    assert follower.require().access_token == TOKEN
    clock.now += timedelta(hours=12)
    with pytest.raises(NoSession, match="06:00 IST"):
        follower.require()


def test_a_token_is_in_no_text() -> None:
    """Neither key nor token stands in what a debugger or a log prints."""
    assert TOKEN not in repr(LIVE)
    keyed = replace(LIVE, api_key="the-key")  # pragma: allowlist secret
    assert "key" not in repr(keyed).replace("api_key", "")


async def test_who_waits_gets_the_next_session() -> None:
    """A new login reaches whoever follows; an older state that arrives late changes nothing."""
    follower = SessionFollower("default", Clock())
    waiting = asyncio.create_task(follower.live())
    await asyncio.sleep(0)
    follower.put(LIVE)
    assert await waiting == LIVE
    later = asyncio.create_task(follower.after(LIVE))
    await asyncio.sleep(0)
    renewed = replace(LIVE, revision=3, session_id="s2", access_token="made-up-2")
    follower.put(renewed)
    follower.put(replace(LIVE, revision=2))
    assert await later == renewed
    assert follower.newest == renewed


async def test_the_end_at_six_wakes_who_waits_for_a_change() -> None:
    """A feed that does nothing but wait learns of the session's end at its time."""
    clock = Clock()
    follower = SessionFollower("default", clock)
    follower.put(replace(LIVE, valid_until=NOON + timedelta(milliseconds=20)))
    waiting = asyncio.create_task(follower.after(follower.newest))
    await asyncio.sleep(0)
    clock.now += timedelta(seconds=1)
    assert (await asyncio.wait_for(waiting, 5)).access_token is None


async def test_a_refused_token_is_used_no_more_and_told_once() -> None:
    """After a 403 nobody calls with the token again; a second 403, or one of an older session, is nothing new."""
    told: list[str] = []

    async def refused(session: KiteSession, message: str) -> None:
        told.append(f"{session.session_id} {message}")

    follower = SessionFollower("default", Clock(), refused)
    follower.put(LIVE)
    await follower.refuse(replace(LIVE, session_id="s0"), "old")
    assert follower.require() == LIVE
    await follower.refuse(LIVE, "Incorrect api_key or access_token.")
    await follower.refuse(LIVE, "again")
    follower.put(LIVE)  # the stream was connected anew before the refusal was stored
    with pytest.raises(NoSession, match="refused"):
        follower.require()
    assert told == ["s1 Incorrect api_key or access_token."]
