"""Users sign in and are managed from the command line; tokens are kept in a file of the user and refreshed."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.integration.auth.conftest import ADMINS_PASSWORD, ASHAS_PASSWORD, Front, opened

from alphapanda.cli import main
from alphapanda.commands.session_file import file_of, read_session, write_session

Run = Callable[..., Result]


@pytest.fixture
def served(tables: str) -> Iterator[Front]:
    """AuthService in a thread of its own, as the commands have loops of their own."""
    ready, started, done = threading.Event(), list[Front](), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with opened(tables) as front:
            started.append(front)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield started[0]
    loop.call_soon_threadsafe(done.set)
    thread.join(30)
    loop.close()


@pytest.fixture
def run(served: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command at that target, with a state home of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(*words: str, given: str = "", code: int = 0) -> Result:
        result = CliRunner().invoke(main, [*words, "--target", served.target], input=given)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def signed_in(run: Run) -> Run:
    """The same, after the administrator has signed in."""
    run("login", "--user", "admin", "--password-file", "-", given=ADMINS_PASSWORD + "\n")
    return run


def test_who_signs_in_is_known_until_it_signs_out(run: Run, served: Front) -> None:
    """The tokens stand in a file that only the user can read, and nowhere in what is printed."""
    assert "TOKEN_MISSING" in run("whoami", code=1).stderr
    result = run("login", "--user", "admin", given=ADMINS_PASSWORD + "\n")
    assert "signed in" in result.stdout
    file = file_of(served.target)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    session = read_session(served.target)
    assert session is not None
    assert session.access_token not in result.output
    assert ADMINS_PASSWORD not in result.output + file.read_text()
    assert "MANAGE_USERS" in run("whoami").stdout
    assert run("token").stdout.strip() == session.access_token
    run("logout")
    assert not file.exists()
    assert served.standing(session.access_token) == "TOKEN_REVOKED"
    assert "not signed in" in run("logout", code=1).stderr


def test_a_wrong_password_is_one_line(run: Run, served: Front) -> None:
    """Nothing is kept, and the password isn't shown."""
    result = run("login", "--user", "admin", "--password-file", "-", given="hunter2hunter2\n", code=1)
    assert "LOGIN_REFUSED" in result.stderr
    assert "hunter2" not in result.output
    assert not file_of(served.target).exists()


def test_tokens_are_refreshed_before_they_expire(signed_in: Run, served: Front) -> None:
    """A command that finds a token about to expire gets the next ones first, and keeps them."""
    first = read_session(served.target)
    assert first is not None
    write_session(replace(first, access_expires_at=0.0))
    served.clock.pass_(seconds=2)
    signed_in("whoami")
    second = read_session(served.target)
    assert second is not None
    assert second.refresh_token != first.refresh_token
    assert (second.pending, second.access_expires_at > 0) == ("", True)


def test_changed_roles_are_fetched_by_themselves(signed_in: Run, served: Front) -> None:
    """A token that went stale is refreshed and the call made again, once."""
    signed_in("users", "role", "admin", "--permission", "READ", "--permission", "MANAGE_USERS")
    assert "may MANAGE_USERS, READ" in signed_in("whoami").stdout
    signed_in("users", "role", "admin", "--permission", "OPERATE", "--permission", "MANAGE_USERS")
    assert "PERMISSION_OPERATE" in signed_in("call", "AuthService/WhoAmI").stdout


def test_a_refresh_whose_answer_was_lost_is_asked_for_again(signed_in: Run, served: Front) -> None:
    """The request_id was kept before it was sent: the second try gets the same answer, and the session lives."""
    from alphapanda.commands.session_token import refresh_by
    from alphapanda.mesh.security import PLAINTEXT
    from panda.auth.v1.auth_pb2 import RefreshRequest

    session = read_session(served.target)
    assert session is not None
    lost = RefreshRequest(request_id="lost", refresh_token=session.refresh_token)
    refresh_by(PLAINTEXT)(served.target, lost)
    write_session(replace(session, access_expires_at=0.0, pending="lost"))
    signed_in("whoami")
    assert read_session(served.target).refresh_token != session.refresh_token  # type: ignore[union-attr]


def test_a_file_that_others_can_read_is_refused(signed_in: Run, served: Front) -> None:
    """The command says what to do."""
    file_of(served.target).chmod(0o644)
    assert "chmod 600" in signed_in("whoami", code=2).stderr


def test_users_are_managed(signed_in: Run) -> None:
    """Create, list, change, disable and enable; each answer is a table or JSON."""
    signed_in(
        "users", "create", "asha", "--role", "trader", "--password-file", "-", given=ASHAS_PASSWORD + "\n"
    )
    users = json.loads(signed_in("users", "--json").stdout)["users"]
    assert [user["userName"] for user in users] == ["admin", "asha"]
    assert "viewer" in signed_in("users", "roles", "asha", "viewer").stdout
    assert "disabled" in signed_in("users", "disable", "asha").stdout
    assert "disabled" not in signed_in("users", "enable", "asha").stdout
    given = "another long password\n"
    assert "is set" in signed_in("users", "password", "asha", "--password-file", "-", given=given).stdout
    assert "risk-manager" in signed_in("users", "roles").stdout
    assert "--role" in signed_in("users", "create", "ravi", code=2).stderr
    assert "LAST_ADMIN" in signed_in("users", "disable", "admin", code=1).stderr
    short = signed_in(
        "users", "create", "ravi", "--role", "viewer", "--password-file", "-", given="hunter2\n", code=1
    )
    assert "password" in short.stderr
    assert "hunter2" not in short.output


def test_a_service_account_s_token_is_printed_alone(signed_in: Run, served: Front) -> None:
    """What goes to a file or a variable is the token and nothing else; its session can be revoked."""
    token = signed_in(
        "users", "create", "bot", "--service", "--role", "viewer", "--days", "30"
    ).stdout.strip()
    assert served.standing(token) == ""
    more = signed_in("token", "--service-account", "bot").stdout.strip()
    assert served.standing(more) == ""
    sessions = json.loads(signed_in("users", "sessions", "bot", "--json").stdout)["sessions"]
    assert len(sessions) == 2
    for session in sessions:
        assert "lost" in signed_in("users", "revoke", session["sessionId"], "--reason", "lost").stdout
    assert [served.standing(one) for one in (token, more)] == ["TOKEN_REVOKED"] * 2


def test_the_own_password_is_changed(signed_in: Run) -> None:
    """It is asked for twice, and the session goes on."""
    new = "another long password"
    signed_in("users", "password", given=f"{ADMINS_PASSWORD}\n{new}\n{new}\n")
    signed_in("whoami")
    signed_in("login", "--user", "admin", given=new + "\n")
