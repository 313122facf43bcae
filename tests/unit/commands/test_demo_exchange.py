"""What `up --demo-zerodha` stands on: where it can run, and the settings with which the platform takes its exchange for Zerodha."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

import alphapanda
from alphapanda.app.instruments import registry_of
from alphapanda.commands import demo_exchange
from alphapanda.commands.demo_exchange import DemoExchange, demo_directory, open_calendar, require_checkout
from alphapanda.commands.zerodha_demo import health
from alphapanda.domain.calendar import parse_calendar, shipped_calendar
from alphapanda.domain.calendar_overlay import overlaid
from alphapanda.domain.errors import InvalidInput
from alphapanda.settings.sources import read_settings
from panda.auth.v1.broker_session_pb2 import BROKER_SESSION_STATE_LIVE, BrokerSession
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusResponse, LiveFeedStatus

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("today", [date(2026, 12, 1), date(2026, 12, 30), date(2026, 12, 5)])
def test_its_market_is_open_whatever_the_day(today: date) -> None:
    """From today on every segment trades round the clock, on weekends and beyond the shipped calendar, too."""
    calendar = parse_calendar(overlaid(shipped_calendar(), tomllib.loads(open_calendar(today))))
    at = datetime(today.year, today.month, today.day, 18, 25, tzinfo=UTC)
    for segment in calendar.segments:
        assert calendar.session_at(at, segment) is not None


def test_an_installed_package_has_no_exchange(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Outside of a checkout, or without its packages, it is refused with what it needs."""
    assert require_checkout() == CHECKOUT
    monkeypatch.setattr(demo_exchange, "find_spec", lambda _: None)
    with pytest.raises(InvalidInput, match=r"no aiohttp.*make setup"):
        require_checkout()
    monkeypatch.setattr(
        alphapanda, "__file__", str(tmp_path / "site-packages" / "alphapanda" / "__init__.py")
    )
    with pytest.raises(InvalidInput, match="a checkout of the sources"):
        require_checkout()


def test_its_data_directory_is_beside_the_usual_one() -> None:
    """A simulation's market clock may be ahead of now, so the demo has a folder of its own."""
    assert demo_directory(Path("/x/alphapanda")) == Path("/x/alphapanda-demo-zerodha")


def test_its_settings_are_settings() -> None:
    """What it hands the platform is what a user could set, and wins over what the user has set."""
    exchange = DemoExchange(CHECKOUT)
    exchange.addresses = demo_exchange.Addresses("http://127.0.0.1:9", "ws://127.0.0.1:9")
    try:
        told = exchange.settings(datetime(2026, 12, 1, tzinfo=UTC))
        settings = read_settings({"ALPHAPANDA_ZERODHA__API_KEY": "mine"}, **told).settings
    finally:
        exchange.close()
    assert (settings.zerodha.api_key, settings.zerodha.login_root) == ("demo", "http://127.0.0.1:9")
    assert settings.zerodha.enabled


def test_what_its_exchange_lists_stays_with_it(tmp_path: Path) -> None:
    """The user's own registry of instruments, wherever it is, gets none of those that the stub has made up."""
    for given in ({}, {"ALPHAPANDA_INSTRUMENTS__FILE": str(tmp_path / "mine.sqlite")}):
        settings = demo_exchange.with_own_instruments(read_settings(given).settings, tmp_path / "demo")
        assert registry_of(settings).file == tmp_path / "demo" / "instruments.sqlite"


def test_health_says_until_when_what_comes_or_what_to_do() -> None:
    """A live session with its end and what is streamed; a feed's problem; a dead session with what a person must do."""
    session = BrokerSession(state=BROKER_SESSION_STATE_LIVE, broker_user_id="AB1234")
    session.valid_until.FromJsonString("2026-12-02T00:30:00Z")
    status = GetMarketStatusResponse(ticks=12, live=LiveFeedStatus(instruments=7))
    assert health(session, status) == "AB1234 until Wed 06:00 · 7 instruments, 12 ticks"
    status.live.problem = "connection 1 of the ticker: waiting"
    assert health(session, status) == "AB1234 until Wed 06:00 · connection 1 of the ticker: waiting"
    ended = BrokerSession(ended_because="Zerodha has refused the session")
    assert health(ended, status) == "Zerodha has refused the session; run `alphapanda kite login`"
