"""What auth decides: passwords, roles, waits after wrong passwords, and what an old refresh token means."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alphapanda.auth.core.login_waits import MOST_REMEMBERED, WHOLE_USER_SECONDS, LoginWaits
from alphapanda.auth.core.passwords import check_password
from alphapanda.auth.core.roles import SHIPPED_ROLES
from alphapanda.auth.core.sessions import Presented, Session, presented, refreshed
from alphapanda.auth.core.users import Role, User, UserKind, check_name, check_roles, permissions_of
from alphapanda.auth.issuing import number
from alphapanda.domain.errors import InvalidInput

NOW = datetime(2026, 11, 30, 10, tzinfo=UTC)
SESSION = Session("s", "asha", NOW, NOW, NOW + timedelta(days=7), 3, "r-3", "10.0.0.1", "cli")


def role(name: str, *permissions: str) -> Role:
    return Role(name, "", permissions, NOW, "auth")


@pytest.mark.parametrize(
    ("password", "allowed"),
    [
        ("short-one", "at least 12 characters"),
        ("asha-sharma-1", "user's name"),
        ("ASHA-SHARMA", "at least 12 characters"),
        ("aaaaaaaaaaaaaaaa", "different characters"),
    ],
)
def test_a_guessable_password_is_refused_by_its_field(password: str, allowed: str) -> None:
    """The message names the field and the rule, never the password."""
    with pytest.raises(InvalidInput, match=allowed) as refused:
        check_password("new_password", password, "asha-sharma")
    assert refused.value.field == "new_password"
    assert password not in str(refused.value)


def test_a_long_password_is_allowed() -> None:
    """Words are enough; no kind of character is asked for."""
    check_password("password", "correct horse battery", "asha")


def test_the_shipped_roles_are_of_the_contract() -> None:
    """Each permission of a shipped role exists, and only the administrator manages users."""
    for name, (_, permissions) in SHIPPED_ROLES.items():
        assert all(number(one) for one in permissions)
        assert ("MANAGE_USERS" in permissions) is (name == "admin")
        assert ("INTERNAL" in permissions) is (name == "service")


def test_calls_between_services_are_for_service_accounts() -> None:
    """A person neither gets such a role nor its permission."""
    internal = role("service", "INTERNAL", "READ")
    with pytest.raises(InvalidInput, match="service accounts alone"):
        check_roles(["service"], UserKind.PERSON, [internal])
    assert check_roles(["service"], UserKind.SERVICE, [internal]) == ("service",)
    person = User(
        "asha",
        UserKind.PERSON,
        ("service",),
        disabled=False,
        generation=1,
        password_hash="",
        created_at=NOW,
        created_by="",
        changed_at=NOW,
    )
    assert permissions_of(person, [internal]) == ("READ",)
    assert permissions_of(replace(person, kind=UserKind.SERVICE), [internal]) == ("INTERNAL", "READ")


def test_an_unknown_role_is_refused_with_the_nearest() -> None:
    """A mistyped role isn't created by the way."""
    with pytest.raises(InvalidInput, match="did you mean 'trader'"):
        check_roles(["tradr"], UserKind.PERSON, [role("trader"), role("viewer")])


def test_a_name_of_no_user_is_reserved() -> None:
    """`local` stands in rows for callers without authentication."""
    with pytest.raises(InvalidInput, match="reserved"):
        check_name("local")
    check_name("asha")


@pytest.mark.parametrize(
    ("rotation", "request_id", "meaning"),
    [
        (3, "r-new", Presented.NEWEST),
        (2, "r-3", Presented.AGAIN),
        (2, "r-new", Presented.REUSED),
        (1, "r-3", Presented.REUSED),
        (4, "r-new", Presented.REUSED),
    ],
)
def test_what_a_refresh_token_means(rotation: int, request_id: str, meaning: Presented) -> None:
    """The newest goes on, the same request gets its answer again, every other one was used by somebody else."""
    assert presented(SESSION, rotation, request_id, NOW) is meaning


def test_a_session_that_is_over_refreshes_nothing() -> None:
    """Ended or expired, it isn't told from theft."""
    assert presented(SESSION.ended(NOW, "logged out"), 3, "r", NOW) is Presented.OVER
    assert presented(SESSION, 3, "r", SESSION.expires_at) is Presented.OVER


def test_a_refresh_begins_the_days_anew() -> None:
    """The next token has the next number."""
    later = NOW + timedelta(days=6)
    after = refreshed(SESSION, "r-4", later, timedelta(days=7), "10.0.0.2")
    assert (after.rotation, after.request_id, after.address) == (4, "r-4", "10.0.0.2")
    assert after.expires_at == later + timedelta(days=7)


def test_waits_double_after_the_free_failures_up_to_the_longest() -> None:
    """Five are free, then 1, 2, 4 … seconds; no user is locked."""
    waits, now = LoginWaits(5, 60), 0.0
    for _ in range(5):
        assert waits.begin("asha", "a", now, known=True) == 0
    told = []
    for _ in range(9):
        told.append(wait := waits.begin("asha", "a", now, known=True))
        now += wait
        assert waits.begin("asha", "a", now, known=True) == 0
    assert told == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_refused_try_counts_for_nothing() -> None:
    """Whoever hammers during a wait doesn't prolong it, and many at once don't pass together."""
    waits = LoginWaits(5, 60)
    assert [waits.begin("asha", "a", 0.0, known=True) for _ in range(100)].count(0) == 5
    assert waits.begin("asha", "a", 1.0, known=True) == 0


def test_the_owner_gets_in_while_a_stranger_guesses() -> None:
    """At an address where the user signed in before, guesses from elsewhere cost the owner nothing."""
    waits, now = LoginWaits(5, 3600), 0.0
    for n in range(200):  # from everywhere
        now += waits.begin("asha", f"stranger {n % 40}", now, known=False)
    assert waits.begin("asha", "home", now, known=True) == 0
    waits.succeeded("asha", "home")
    assert waits.begin("asha", "home", now, known=True) == 0


def test_the_wait_of_a_user_as_a_whole_is_short() -> None:
    """A user at a new address waits half a minute at most, however many addresses guess."""
    waits = LoginWaits(5, 3600)
    for n in range(1000):
        waits.begin("asha", f"stranger {n}", n * 31.0, known=False)
    assert waits.begin("asha", "new", 31_000.0 - 31.0, known=False) <= WHOLE_USER_SECONDS


def test_an_address_that_tries_many_names_waits() -> None:
    """One password tried on many users is slowed by the address, also between own sign-ins that succeed."""
    waits = LoginWaits(5, 300)
    for n in range(20):
        assert waits.begin("mallory", "a", 0.0, known=True) == 0
        waits.succeeded("mallory", "a")
        assert waits.begin(f"user {n}", "a", 0.0, known=False) == 0
    assert waits.begin("asha", "a", 0.0, known=False) >= 1
    assert waits.begin("asha", "b", 0.0, known=False) == 0


def test_a_new_password_forgives() -> None:
    """After an administrator has set a password its owner waits for nothing."""
    waits = LoginWaits(1, 300)
    for _ in range(3):
        waits.begin("asha", "a", 0.0, known=False)
    assert waits.begin("asha", "a", 0.0, known=False) > 0
    waits.forgive("asha")
    assert waits.begin("asha", "a", 0.0, known=False) == 0


def test_what_is_remembered_is_bounded() -> None:
    """Names and addresses made up by the thousand take no more memory than MOST_REMEMBERED."""
    waits = LoginWaits(5, 1)
    for n in range(MOST_REMEMBERED):
        waits.begin(f"u{n}", f"a{n}", float(n), known=False)
    assert waits.remembered == MOST_REMEMBERED
