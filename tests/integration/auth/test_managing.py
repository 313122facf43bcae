"""Administrators create, change, disable and list; what they take away stops counting at once."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from tests.integration.auth.conftest import ADMINS_PASSWORD, ASHAS_PASSWORD, Front

from panda.auth.v1 import auth_pb2 as api
from panda.options.v1 import options_pb2 as options

NEW = "another long password"


async def test_the_shipped_roles_are_rows(front: Front) -> None:
    """An empty database begins with them; an administrator changes what one permits."""
    admin = (await front.signed_in()).access_token
    roles = {role.role: role for role in (await front.call(api.ListRolesRequest(), admin)).roles}
    assert set(roles) == {"viewer", "trader", "risk-manager", "operator", "admin", "service"}
    assert options.PERMISSION_MANAGE_USERS in roles["admin"].permissions
    page = await front.call(api.ListRolesRequest(page_size=4), admin)
    rest = await front.call(api.ListRolesRequest(page_size=4, page_token=page.next_page_token), admin)
    assert [role.role for role in (*page.roles, *rest.roles)] == sorted(roles)


async def test_a_user_is_created_once(front: Front) -> None:
    """The same request again is the same user; another password under its request_id is refused; a name is taken once."""
    admin = (await front.signed_in()).access_token
    request = api.CreateUserRequest(
        request_id="c", user_name="asha", password=ASHAS_PASSWORD, roles=["viewer"]
    )
    assert await front.call(request, admin) == await front.call(request, admin)
    other = api.CreateUserRequest(request_id="c", user_name="asha", password=NEW, roles=["viewer"])
    assert (await front.refused(other, admin)).reason == "REQUEST_ID_REUSED"
    other.request_id = "d"
    assert (await front.refused(other, admin)).reason == "USER_EXISTS"
    users = (await front.call(api.ListUsersRequest(), admin)).users
    assert [(user.user_name, list(user.roles), user.created_by) for user in users] == [
        ("admin", ["admin"], "auth"),
        ("asha", ["viewer"], "admin"),
    ]


async def test_a_bad_user_is_refused_by_its_field(front: Front) -> None:
    """Name, password and roles each have rules, and the refusal names the field."""
    admin = (await front.signed_in()).access_token
    bad: list[tuple[str, object]] = [
        ("user_name", "Asha"),
        ("user_name", "local"),
        ("user_name", ""),
        ("password", "short"),
        ("password", "asha-asha-asha"),
        ("roles", ["tradr"]),
        ("roles", ["service"]),
        ("roles", ["viewer", "viewer"]),
    ]
    for field, value in bad:
        asked = {"user_name": "asha", "password": ASHAS_PASSWORD, "roles": ["viewer"]} | {field: value}
        refused = await front.refused(api.CreateUserRequest(**asked), admin)
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.refused[0][0].startswith(field)
    internal = [options.PERMISSION_READ, options.PERMISSION_INTERNAL]
    refused = await front.refused(api.SetRoleRequest(role="admin", permissions=internal), admin)
    assert refused.refused[0][0] == "permissions"


async def test_changed_roles_hold_with_the_next_token(front: Front) -> None:
    """The former token counts as expired at once, and refreshing gets one with the new roles."""
    admin = await front.with_asha("viewer")
    asha = await front.signed_in("asha", ASHAS_PASSWORD)
    answer = await front.call(api.SetRolesRequest(user_name="asha", roles=["trader"]), admin)
    assert list(answer.user.roles) == ["trader"]
    assert front.standing(asha.access_token) == "TOKEN_EXPIRED"
    after = (await front.call(api.RefreshRequest(refresh_token=asha.refresh_token))).tokens
    claims = front.verifier.verify(after.access_token, front.clock.now.timestamp())
    assert options.PERMISSION_TRADE in claims.permissions


async def test_a_changed_role_holds_for_all_who_have_it(front: Front) -> None:
    """What a role permits is a row: taking TRADE away makes its users' tokens stale."""
    admin = await front.with_asha("trader")
    asha = await front.signed_in("asha", ASHAS_PASSWORD)
    await front.call(
        api.SetRoleRequest(role="trader", description="looks on", permissions=[options.PERMISSION_READ]),
        admin,
    )
    assert front.standing(asha.access_token) == "TOKEN_EXPIRED"
    after = (await front.call(api.RefreshRequest(refresh_token=asha.refresh_token))).tokens
    claims = front.verifier.verify(after.access_token, front.clock.now.timestamp())
    assert claims.permissions == {options.PERMISSION_READ}


async def test_a_disabled_user_is_out_at_once(front: Front) -> None:
    """No token of it counts, none can be fetched, and only with the right password is it told why."""
    admin = await front.with_asha()
    asha = await front.signed_in("asha", ASHAS_PASSWORD)
    await front.call(api.SetUserDisabledRequest(user_name="asha", disabled=True), admin)
    assert front.standing(asha.access_token) == "TOKEN_REVOKED"
    refused = await front.refused(api.RefreshRequest(refresh_token=asha.refresh_token))
    assert refused.reason == "TOKEN_REVOKED"
    assert (await front.refused(api.LoginRequest(user_name="asha", password=NEW))).reason == "LOGIN_REFUSED"
    right = api.LoginRequest(user_name="asha", password=ASHAS_PASSWORD)
    assert (await front.refused(right)).reason == "USER_DISABLED"
    await front.call(api.SetUserDisabledRequest(user_name="asha", disabled=False), admin)
    assert await front.signed_in("asha", ASHAS_PASSWORD)
    assert front.standing(asha.access_token) == "TOKEN_REVOKED"


@pytest.mark.parametrize(
    "request_",
    [
        api.SetRolesRequest(user_name="admin", roles=["viewer"]),
        api.SetUserDisabledRequest(user_name="admin", disabled=True),
        api.SetRoleRequest(role="admin", permissions=[options.PERMISSION_READ]),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_the_last_administrator_stays(front: Front, request_) -> None:
    """Whatever would leave nobody to manage users is refused and undone; with a second administrator it passes."""
    admin = await front.with_asha("viewer")
    refused = await front.refused(request_, admin)
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LAST_ADMIN")
    assert front.standing(admin) == ""
    chief = api.SetRoleRequest(role="chief", permissions=[options.PERMISSION_MANAGE_USERS])
    await front.call(chief, admin)
    await front.call(api.SetRolesRequest(user_name="asha", roles=["chief"]), admin)
    again = type(request_)()
    again.CopyFrom(request_)
    again.request_id = "again"
    await front.call(again, admin)


async def test_two_administrators_do_not_take_each_other_away(front: Front) -> None:
    """At the same moment one of them wins; one is left."""
    admin = await front.with_asha("admin")
    asha = (await front.signed_in("asha", ASHAS_PASSWORD)).access_token
    ends = await asyncio.gather(
        front.call(api.SetUserDisabledRequest(user_name="asha", disabled=True), admin),
        front.call(api.SetUserDisabledRequest(user_name="admin", disabled=True), asha),
        return_exceptions=True,
    )
    assert sum(isinstance(end, grpc.aio.AioRpcError) for end in ends) == 1


async def test_a_forgotten_password_is_set_by_an_administrator(front: Front) -> None:
    """All sessions end, and waits after wrong passwords are forgiven."""
    admin = await front.with_asha()
    asha = (await front.signed_in("asha", ASHAS_PASSWORD)).access_token
    for _ in range(6):
        await front.refused(api.LoginRequest(user_name="asha", password="guess"))  # pragma: allowlist secret
    await front.call(api.SetPasswordRequest(user_name="asha", password=NEW), admin)
    assert front.standing(asha) == "TOKEN_REVOKED"
    assert await front.signed_in("asha", NEW)
    missing = api.SetPasswordRequest(user_name="nobody", password=NEW)
    assert (await front.refused(missing, admin)).reason == "USER_NOT_FOUND"


async def test_sessions_are_listed_and_revoked(front: Front) -> None:
    """An administrator sees who signed in from where and ends one; ended ones are listed on request."""
    admin = await front.with_asha()
    one, two = [(await front.signed_in("asha", ASHAS_PASSWORD)).access_token for _ in range(2)]
    found = (await front.call(api.ListSessionsRequest(user_name="asha"), admin)).sessions
    revoke = api.RevokeSessionRequest(session_id=found[1].session_id, reason="laptop lost")
    assert (await front.call(revoke, admin)).session.ended_because == "laptop lost"
    assert [front.standing(token) for token in (one, two)] == ["TOKEN_REVOKED", ""]
    assert len((await front.call(api.ListSessionsRequest(user_name="asha"), admin)).sessions) == 1
    every = await front.call(api.ListSessionsRequest(ended=True, page_size=2), admin)
    rest = await front.call(
        api.ListSessionsRequest(ended=True, page_size=2, page_token=every.next_page_token), admin
    )
    assert [one.user_name for one in (*every.sessions, *rest.sessions)] == ["asha", "asha", "admin"]
    nobody = api.ListSessionsRequest(user_name="nobody")
    assert (await front.refused(nobody, admin)).reason == "USER_NOT_FOUND"
    none = api.RevokeSessionRequest(session_id="00000000-0000-0000-0000-000000000000")
    assert (await front.refused(none, admin)).reason == "SESSION_NOT_FOUND"


async def test_a_service_account_has_a_token_of_its_own(front: Front) -> None:
    """It is shown to whoever asked for it, lasts as long as asked for, and ends with its session."""
    admin = (await front.signed_in()).access_token
    request = api.CreateServiceAccountRequest(
        request_id="s", user_name="bot", roles=["service"], valid_days=30
    )
    made = await front.call(request, admin)
    assert await front.call(request, admin) == made
    assert not made.tokens.refresh_token
    claims = front.verifier.verify(made.tokens.access_token, front.clock.now.timestamp())
    assert (claims.kind, claims.expires_at - claims.issued_at) == ("service", 30 * 86400)
    assert options.PERMISSION_INTERNAL in claims.permissions
    more = await front.call(api.CreateServiceTokenRequest(user_name="bot"), admin)
    await front.call(api.RevokeSessionRequest(session_id=made.session.session_id), admin)
    assert front.standing(made.tokens.access_token) == "TOKEN_REVOKED"
    assert front.standing(more.tokens.access_token) == ""
    too_long = await front.refused(api.CreateServiceTokenRequest(user_name="bot", valid_days=366), admin)
    assert too_long.refused[0][0] == "valid_days"
    person = await front.refused(api.CreateServiceTokenRequest(user_name="admin"), admin)
    assert person.reason == "NO_SERVICE_ACCOUNT"
    sign_in = api.LoginRequest(user_name="bot", password="x")
    assert (await front.refused(sign_in)).reason == "LOGIN_REFUSED"
    password = api.SetPasswordRequest(user_name="bot", password=NEW)
    assert (await front.refused(password, admin)).reason == "NO_PASSWORD"


async def test_what_a_service_account_loses_ends_its_tokens(front: Front) -> None:
    """Its tokens can't be refreshed: what is added to its role leaves them alone, what is taken away ends them."""
    admin = (await front.signed_in()).access_token
    made = await front.call(api.CreateServiceAccountRequest(user_name="bot", roles=["viewer"]), admin)
    wider = [options.PERMISSION_READ, options.PERMISSION_OPERATE]
    await front.call(api.SetRoleRequest(role="viewer", permissions=wider), admin)
    assert front.standing(made.tokens.access_token) == ""
    await front.call(api.SetRoleRequest(role="viewer", permissions=wider[1:]), admin)
    assert front.standing(made.tokens.access_token) == "TOKEN_REVOKED"


async def test_other_services_are_told_what_was_revoked(front: Front) -> None:
    """By number, so that each is told once; what concerns no token any more isn't told."""
    admin = await front.with_asha()
    asha = (await front.signed_in("asha", ASHAS_PASSWORD)).access_token
    account = api.CreateServiceAccountRequest(user_name="bot", roles=["service"])
    bot = (await front.call(account, admin)).tokens.access_token
    await front.call(api.LogoutRequest(), asha)
    assert (await front.refused(api.GetRevocationsRequest(), admin)).reason == "PERMISSION_MISSING"
    [first] = (await front.call(api.GetRevocationsRequest(), bot)).revocations
    assert first.session_id
    await front.call(api.SetUserDisabledRequest(user_name="asha", disabled=True), admin)
    [second] = (await front.call(api.GetRevocationsRequest(after_number=first.number), bot)).revocations
    assert (second.user_name, second.refreshable) == ("asha", False)
    front.clock.pass_(hours=1)
    assert not (await front.call(api.GetRevocationsRequest(), bot)).revocations


async def test_a_secret_has_no_public_key(front: Front) -> None:
    """With HS256 there is nothing to tell."""
    answer = await front.call(api.GetSigningKeysRequest())
    assert (answer.algorithm, list(answer.keys)) == ("HS256", [])


async def test_the_first_administrator_is_created_once(front: Front) -> None:
    """A restart with another first password changes nothing."""
    from alphapanda.auth.starting import Starting

    await Starting(front.parts, NEW, front.parts.audit).start()
    assert await front.signed_in("admin", ADMINS_PASSWORD)
    assert (await front.refused(api.LoginRequest(user_name="admin", password=NEW))).reason == "LOGIN_REFUSED"


async def test_the_first_administrator_is_in_the_audit(front: Front, tables: str) -> None:
    """No call creates it, so the start records it; the password isn't in the entry."""
    from alphapanda.storage.audit import AuditFilter, PostgresAudit
    from alphapanda.storage.engine import open_engine

    engine = open_engine(tables, 1)
    [entry] = await PostgresAudit(engine).page(AuditFilter(), None, 10)
    assert (entry.method, entry.request, entry.caller[:3]) == (
        "alphapanda first admin",
        {"user_name": "admin"},
        "os:",
    )
    assert entry.outcome is not None
    assert entry.outcome.outcome == "OK"
    await engine.dispose()
