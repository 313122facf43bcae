"""Where Zerodha isn't used, nothing that speaks to it is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from alphapanda.app.zerodha import require_extra, require_keys_of, with_zerodha
from alphapanda.domain.errors import InvalidInput
from alphapanda.settings.sources import load_settings

START = """
import sys
import alphapanda.app.embedded, alphapanda.app.serve, alphapanda.app.doctor, alphapanda.app.doctor_mesh, alphapanda.commands.running
from types import SimpleNamespace
from alphapanda.app.zerodha import with_zerodha
from alphapanda.settings.sources import load_settings
with_zerodha(SimpleNamespace(settings=load_settings({})), "up", logins=True)
wrong = ("alphapanda.kite", "kiteconnect", "requests", "websockets", "alphapanda.auth.broker")
print(sorted(name for name in sys.modules if name.startswith(wrong)))
"""
KEYS = {"ALPHAPANDA_ZERODHA__API_KEY": "k", "ALPHAPANDA_ZERODHA__API_SECRET": "s"}  # pragma: allowlist secret


def test_nothing_of_it_is_imported_where_it_is_off() -> None:
    """A start without a key and without an account imports neither our code for Kite nor a package of its extra."""
    ended = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key and without the extra the start says what to install; without a key nobody asks."""
    monkeypatch.setattr("alphapanda.app.zerodha.find_spec", lambda _: None)
    require_extra(load_settings({}))
    with pytest.raises(InvalidInput, match=r"install alphapanda\[zerodha\]"):
        require_extra(load_settings(KEYS))


def test_where_it_is_off_there_is_nothing_to_start() -> None:
    """The resources stay as they are, and no service is added."""

    class Resources:
        settings = load_settings({})

    resources = Resources()
    assert with_zerodha(resources, "up", logins=True) == (resources, ())  # type: ignore[arg-type]


def test_a_missing_key_is_told_before_anything_is_opened() -> None:
    """Who keeps the sessions needs the app's key, and who calls needs the session key; others need neither."""
    accounts = load_settings({"ALPHAPANDA_ZERODHA__ACCOUNTS": "one,two"})
    require_keys_of(load_settings({}), ["auth", "trading"])
    require_keys_of(accounts, ["risk", "strategy"])
    with pytest.raises(InvalidInput, match=r"zerodha.api_key.*\(one, two\)"):
        require_keys_of(accounts, ["up"])
    for service in ("auth", "marketdata", "trading", "portfolio"):
        with pytest.raises(InvalidInput, match=r"zerodha.session_key.* at least 32 bytes"):
            require_keys_of(accounts, [service])
