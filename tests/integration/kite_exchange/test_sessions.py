"""The login and the access token, by the unmodified kiteconnect."""

from __future__ import annotations

from datetime import date, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from kiteconnect import KiteConnect, exceptions
from tests.integration.kite_exchange.conftest import logged_in
from tests.kite_exchange.exchange import APP
from tests.kite_exchange.server import ServerThread


def test_a_login_ends_at_the_redirect_url_with_what_was_given_along(stub: ServerThread) -> None:
    """The redirect has a request token, and the parameters that the login was asked for with."""
    url = stub.server.login_url(APP.api_key) + "&redirect_params=state%3Dabc%26more%3D1"
    answer = requests.get(url, allow_redirects=False, timeout=5)
    told = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(APP.redirect_url)
    assert (told["status"], told["state"], told["more"]) == (["success"], ["abc"], ["1"])


def test_a_person_can_be_asked(stub: ServerThread) -> None:
    """Where a login needs a person, it shows a button, which redirects."""
    stub.do(lambda exchange: setattr(exchange, "logs_in", False))
    page = requests.get(stub.server.login_url(APP.api_key), timeout=5)
    assert f"Log in as {APP.user_id}" in page.text
    answer = requests.post(
        f"{stub.server.api_root}/connect/login", {"api_key": APP.api_key}, allow_redirects=False, timeout=5
    )
    assert "request_token=" in answer.headers["Location"]


def test_a_session_has_a_token_a_user_and_a_time(kite: KiteConnect) -> None:
    """generate_session and profile tell who is logged in."""
    assert kite.access_token
    assert kite.profile()["user_id"] == APP.user_id


def test_a_request_token_works_once(stub: ServerThread) -> None:
    """The second exchange of a request token is a TokenException with 403, as is a wrong secret."""
    kite = KiteConnect(APP.api_key, root=stub.server.api_root)
    token = stub.do(lambda exchange: exchange.sessions.login(APP.api_key))
    told = kite.generate_session(token, APP.api_secret)
    assert told["login_time"] == datetime.fromisoformat("2026-12-01 10:00")
    with pytest.raises(exceptions.TokenException) as refused:
        kite.generate_session(token, APP.api_secret)
    assert refused.value.code == 403
    another = stub.do(lambda exchange: exchange.sessions.login(APP.api_key))
    with pytest.raises(exceptions.TokenException, match="checksum"):
        kite.generate_session(another, "not the secret")


def test_a_request_token_gets_too_old(stub: ServerThread) -> None:
    """It lives five minutes."""
    token = stub.do(lambda exchange: exchange.sessions.login(APP.api_key))
    stub.do(lambda exchange: exchange.clock.advance(301))
    with pytest.raises(exceptions.TokenException):
        KiteConnect(APP.api_key, root=stub.server.api_root).generate_session(token, APP.api_secret)


def test_a_token_dies_at_six_in_the_morning(stub: ServerThread, kite: KiteConnect) -> None:
    """At 06:00 in India the next day every call is a 403 TokenException, and the client's hook is called."""
    called = []
    kite.set_session_expiry_hook(lambda: called.append(True))
    stub.do(lambda exchange: exchange.clock.advance(20 * 3600 - 1))
    kite.profile()
    stub.do(lambda exchange: exchange.clock.advance(1))
    with pytest.raises(exceptions.TokenException, match="Incorrect `api_key` or `access_token`"):
        kite.profile()
    assert called == [True]


def test_a_login_elsewhere_and_a_logout_end_a_session(stub: ServerThread, kite: KiteConnect) -> None:
    """The older token of an app is dead after a new login, and the newer one after its logout."""
    newer = logged_in(stub)
    with pytest.raises(exceptions.TokenException):
        kite.profile()
    newer.profile()
    assert newer.invalidate_access_token() is True
    with pytest.raises(exceptions.TokenException):
        newer.profile()


def test_instruments_are_those_of_the_day(kite: KiteConnect) -> None:
    """The dump is parsed by the client: the shipped instruments are in it, and an expiry is a date."""
    rows = {f"{row['exchange']}:{row['tradingsymbol']}": row for row in kite.instruments()}
    assert len(rows) == 400
    assert rows["NSE:INFY"]["instrument_token"] == 408065
    assert isinstance(rows["NFO:NIFTY26DECFUT"]["expiry"], date)
    assert {row["exchange"] for row in kite.instruments("NFO")} == {"NFO"}


def test_quotes_are_of_what_is_listed(stub: ServerThread, kite: KiteConnect) -> None:
    """Quotes have prices in rupees, circuits and depth; a key that isn't listed is absent, an index has no volume."""
    stub.do(lambda exchange: exchange.market.trade([(408065, 150_005, 70)], exchange.clock.ns()))
    full = kite.quote(["NSE:INFY", "NSE:NIFTY 50", "NSE:NOTHING"])
    assert full.keys() == {"NSE:INFY", "NSE:NIFTY 50"}
    infy = full["NSE:INFY"]
    assert (infy["last_price"], infy["volume"], len(infy["depth"]["buy"])) == (1500.05, 70, 5)
    assert infy["timestamp"] == datetime.fromisoformat("2026-12-01 10:00")
    assert infy["lower_circuit_limit"] < infy["ohlc"]["close"] < infy["upper_circuit_limit"]
    assert "volume" not in full["NSE:NIFTY 50"]
    assert kite.ltp("NSE:INFY")["NSE:INFY"] == {"instrument_token": 408065, "last_price": 1500.05}
    assert kite.ohlc("NSE:INFY")["NSE:INFY"]["ohlc"]["high"] >= 1500.05
    with pytest.raises(exceptions.InputException, match="Max permitted is 500"):
        kite.quote([f"NSE:X{number}" for number in range(501)])


def test_candles_are_the_same_each_time_and_end_now(kite: KiteConnect) -> None:
    """Minutes add up to days, none is of the future, and too long a time is refused in Kite's words."""
    begin, end = datetime.fromisoformat("2026-11-25"), datetime.fromisoformat("2026-12-01 23:00")
    minutes = kite.historical_data(408065, begin, end, "minute")
    assert minutes == kite.historical_data(408065, begin, end, "minute")
    days = kite.historical_data(408065, begin, end, "day")
    assert str(days[0]["date"]) == "2026-11-25 00:00:00+05:30"
    first = [bar for bar in minutes if bar["date"].date() == date(2026, 11, 25)]
    assert (first[0]["open"], first[-1]["close"], max(bar["high"] for bar in first)) == (
        days[0]["open"], days[0]["close"], days[0]["high"],
    )  # fmt: skip
    assert str(minutes[-1]["date"]) == "2026-12-01 10:00:00+05:30"
    assert "oi" in kite.historical_data(408065, begin, end, "60minute", oi=True)[0]
    with pytest.raises(exceptions.InputException, match="interval exceeds max limit: 60 days"):
        kite.historical_data(408065, datetime.fromisoformat("2026-09-01"), end, "minute")
