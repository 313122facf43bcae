"""`up --auth`: a secret of the data directory's own, which nobody else may read; what is refused before anything is touched."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from alphapanda.app.local_auth import (
    AUTH_OFF,
    AUTH_OFF_NOW,
    auth_off,
    local_secret,
    open_up_security,
    with_known_secret,
)
from alphapanda.domain.errors import InvalidInput
from alphapanda.embedded.layout import Layout
from alphapanda.settings.sources import load_settings

SETTINGS = load_settings({})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_secret_is_made_once_and_kept(layout: Layout) -> None:
    """The first start makes it, long enough and for its owner alone; later ones use it again."""
    first, security = open_up_security(SETTINGS, auth=True, layout=layout)
    again, _ = open_up_security(SETTINGS, auth=True, layout=layout)
    assert security.server.access.authenticates
    assert first.auth.secret == again.auth.secret == local_secret(layout.auth_secret)
    assert len(first.auth.secret) > 60
    assert stat.S_IMODE(layout.auth_secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(layout.secrets.stat().st_mode) == 0o700
    assert [file.name for file in layout.secrets.iterdir()] == ["auth"]


def test_a_secret_of_the_settings_stands_above_it(layout: Layout) -> None:
    """Where the settings have one, none is made."""
    own = load_settings({"ALPHAPANDA_AUTH__SECRET": "s" * 40})
    assert open_up_security(own, auth=True, layout=layout)[0].auth.secret == "s" * 40
    assert not layout.secrets.exists()


def test_a_secret_that_others_may_read_is_refused(layout: Layout) -> None:
    """The line says which file and what to do, and not what is in it."""
    made, _ = open_up_security(SETTINGS, auth=True, layout=layout)
    layout.auth_secret.chmod(0o640)
    with pytest.raises(InvalidInput, match="chmod 600") as refused:
        open_up_security(SETTINGS, auth=True, layout=layout)
    assert made.auth.secret not in str(refused.value)


def test_without_auth_nothing_is_made(layout: Layout) -> None:
    """Off on loopback by default: no secret, and everybody may do everything."""
    _, security = open_up_security(SETTINGS, auth=False, layout=layout)
    assert not security.server.access.authenticates
    assert not layout.secrets.exists()


def test_a_start_without_auth_after_one_with_it_says_so(layout: Layout) -> None:
    """Whoever forgets --auth opens what was closed, and is told that, not what a first start is told."""
    assert auth_off(layout) == AUTH_OFF
    open_up_security(SETTINGS, auth=True, layout=layout)
    assert auth_off(layout) == AUTH_OFF_NOW
    assert "although it was on in this data directory" in AUTH_OFF_NOW


def test_another_machine_is_served_only_with_both(layout: Layout) -> None:
    """Bound elsewhere, what is missing is named; with --auth TLS alone is missing; nothing is written before."""
    elsewhere = load_settings({"ALPHAPANDA_API__HOST": "0.0.0.0"})
    with pytest.raises(InvalidInput) as refused:
        open_up_security(elsewhere, auth=False)
    assert "without authentication (auth.enabled = true) and TLS (tls.certificate, tls.key)" in str(
        refused.value
    )
    with pytest.raises(InvalidInput) as refused:
        open_up_security(elsewhere, auth=True)
    assert "without TLS (tls.certificate, tls.key): everybody" in str(refused.value)
    assert not layout.secrets.exists()


def test_who_may_read_the_secret_may_ask_what_runs_there(layout: Layout) -> None:
    """`doctor` and `backup` find it beside the data; without one the settings stay as they are."""
    assert with_known_secret(SETTINGS, layout) is SETTINGS
    made, _ = open_up_security(SETTINGS, auth=True, layout=layout)
    assert with_known_secret(SETTINGS, layout).auth == made.auth
