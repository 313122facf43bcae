"""Settings of Zerodha as options of what speaks to it."""

from __future__ import annotations

from alphapanda.app.kite import kite_apps, kite_options, kite_session_keys
from alphapanda.kite.options import KiteApp, KiteOptions
from alphapanda.settings.sources import load_settings


def test_options_begin_with_the_defaults_of_the_settings() -> None:
    """A part that is built without settings behaves as one that is built from settings nobody has set."""
    assert kite_options(load_settings({})) == KiteOptions()


def test_each_account_has_its_own_app() -> None:
    """Keys and secrets belong to the accounts in their order, spaces aside; none of them is in a text."""
    given = {
        "ACCOUNTS": "one, two",
        "API_KEY": "key-1, key-2",  # pragma: allowlist secret
        "API_SECRET": "word-1,word-2",  # pragma: allowlist secret
        "SESSION_KEY": f"{'n' * 32},{'o' * 32}",
    }
    settings = load_settings({f"ALPHAPANDA_ZERODHA__{name}": value for name, value in given.items()})
    apps = kite_apps(settings)
    assert apps == {"one": KiteApp("one", "key-1", "word-1"), "two": KiteApp("two", "key-2", "word-2")}
    assert "key-1" not in repr(apps)
    assert "word-2" not in repr(apps)
    assert kite_session_keys(settings) == [b"n" * 32, b"o" * 32]
