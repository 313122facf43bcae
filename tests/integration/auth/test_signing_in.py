"""Who signs in, how long, and how a session ends."""

from __future__ import annotations

import asyncio

import grpc
from sqlalchemy import text
from tests.integration.auth.conftest import ADMINS_PASSWORD, ASHAS_PASSWORD, Front

from alphapanda.auth.core.sessions import MOST_SESSIONS
from alphapanda.mesh.tokens import TokenType
from alphapanda.storage.engine import open_engine
from panda.auth.v1 import auth_pb2 as api
from panda.options.v1 import options_pb2 as options

NEW = "another long password"


async def test_a_user_signs_in_and_is_who_it_says(front: Front) -> None:
    """Its token claims its roles' permissions; WhoAmI tells them with the session."""
    await front.with_asha("trader", "viewer")
    answer = await front.call(
        api.LoginRequest(user_name="asha", password=ASHAS_PASSWORD, client="alphapanda 0.1")
    )
    claims = front.verifier.verify(answer.tokens.access_token, front.clock.now.timestamp())
    assert claims.roles == ("trader", "viewer")
    assert claims.permissions == {
        options.PERMISSION_READ,
        options.PERMISSION_TRADE,
        options.PERMISSION_MANAGE_STRATEGIES,
    }
    me = await front.call(api.WhoAmIRequest(), answer.tokens.access_token)
    assert (me.user.user_name, me.session_id) == ("asha", answer.session.session_id)
    assert set(me.permissions) == claims.permissions
    assert [(one.client, one.address) for one in me.sessions] == [("alphapanda 0.1", "127.0.0.1")]


async def test_a_wrong_password_and_an_unknown_user_are_the_same(front: Front) -> None:
    """Nobody learns which names exist; the audit has both, without the password."""
    guess = "guess"
    wrong = await front.refused(api.LoginRequest(user_name="admin", password=guess))
    unknown = await front.refused(api.LoginRequest(user_name="nobody", password=guess))
    assert (wrong.code, wrong.reason, wrong.message) == (unknown.code, unknown.reason, unknown.message)
    assert (wrong.code, wrong.reason) == (grpc.StatusCode.UNAUTHENTICATED, "LOGIN_REFUSED")
    lines = [line for line in front.log.entries if line["event"] == "login.refused"]
    assert [line["user"] for line in lines] == ["admin", "nobody"]
    assert "guess" not in str(front.log.entries)


async def test_guessing_is_slowed_and_told_how_long(front: Front) -> None:
    """After the free tries each further one waits; RetryInfo says how long; the right password then opens."""
    guess = api.LoginRequest(user_name="admin", password="guess")
    for _ in range(5):
        guess.request_id = ""
        assert (await front.refused(guess)).reason == "LOGIN_REFUSED"
    guess.request_id = ""
    slowed = await front.refused(guess)
    assert (slowed.code, slowed.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LOGIN_SLOWED")
    assert slowed.retry_after == 1.0
    front.clock.pass_(seconds=1)
    assert await front.signed_in()


async def test_the_same_sign_in_again_finds_its_session(front: Front) -> None:
    """An answer that was lost is given again, with the same tokens, and there is one session."""
    request = api.LoginRequest(request_id="r-1", user_name="admin", password=ADMINS_PASSWORD)
    first, second = await front.call(request), await front.call(request)
    assert first == second
    me = await front.call(api.WhoAmIRequest(), first.tokens.access_token)
    assert len(me.sessions) == 1


async def test_refreshing_goes_on_and_an_old_token_ends_the_family(front: Front) -> None:
    """Each refresh token is good once. Used again, it ends the session with all its tokens, and is an alarm."""
    first = await front.signed_in()
    second = (await front.call(api.RefreshRequest(refresh_token=first.refresh_token))).tokens
    assert front.standing(second.access_token) == ""
    stolen = await front.refused(api.RefreshRequest(refresh_token=first.refresh_token))
    assert (stolen.code, stolen.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REVOKED")
    assert front.standing(second.access_token) == front.standing(first.access_token) == "TOKEN_REVOKED"
    owner = await front.refused(api.RefreshRequest(refresh_token=second.refresh_token))
    assert owner.reason == "TOKEN_REVOKED"
    [alarm] = [line for line in front.log.entries if line["event"] == "session.refresh_reused"]
    assert alarm["alarm"]


async def test_a_refresh_whose_answer_was_lost_is_given_again(front: Front) -> None:
    """The same request_id gets the same tokens; the session lives."""
    first = await front.signed_in()
    request = api.RefreshRequest(request_id="lost", refresh_token=first.refresh_token)
    assert await front.call(request) == await front.call(request)


async def test_two_refreshes_at_once_are_a_theft(front: Front) -> None:
    """Of two who have the same token one gets the next; then the session ends."""
    first = await front.signed_in()
    both = await asyncio.gather(
        *(front.call(api.RefreshRequest(refresh_token=first.refresh_token)) for _ in range(2)),
        return_exceptions=True,
    )
    [won] = [one for one in both if isinstance(one, api.RefreshResponse)]
    assert front.standing(won.tokens.access_token) == "TOKEN_REVOKED"


async def test_tokens_end_by_time(front: Front) -> None:
    """An access token ends after half an hour, a session a week after its last refresh."""
    first = await front.signed_in()
    front.clock.pass_(minutes=31)
    assert front.standing(first.access_token) == "TOKEN_EXPIRED"
    front.clock.pass_(days=6)
    second = (await front.call(api.RefreshRequest(refresh_token=first.refresh_token))).tokens
    front.clock.pass_(days=6)
    third = (await front.call(api.RefreshRequest(refresh_token=second.refresh_token))).tokens
    front.clock.pass_(days=8)
    late = await front.refused(api.RefreshRequest(refresh_token=third.refresh_token))
    assert late.reason == "TOKEN_EXPIRED"


async def test_an_access_token_refreshes_nothing(front: Front) -> None:
    """Only the refresh token does, and it opens no call."""
    tokens = await front.signed_in()
    wrong = await front.refused(api.RefreshRequest(refresh_token=tokens.access_token))
    assert wrong.reason == "TOKEN_WRONG_TYPE"
    assert front.standing(tokens.refresh_token) == "TOKEN_WRONG_TYPE"
    claims = front.verifier.verify(tokens.refresh_token, front.clock.now.timestamp(), TokenType.REFRESH)
    assert not claims.permissions


async def test_who_signs_out_is_out_at_once(front: Front) -> None:
    """Logout ends this session; everywhere ends all of the caller's, and nobody else's."""
    admin = await front.with_asha()
    one, two, three = [(await front.signed_in("asha", ASHAS_PASSWORD)).access_token for _ in range(3)]
    assert (await front.call(api.LogoutRequest(), one)).sessions_ended == 1
    assert [front.standing(token) for token in (one, two, three)] == ["TOKEN_REVOKED", "", ""]
    assert (await front.call(api.LogoutRequest(everywhere=True), two)).sessions_ended == 2
    assert [front.standing(token) for token in (two, three, admin)] == ["TOKEN_REVOKED", "TOKEN_REVOKED", ""]


async def test_nobody_ends_a_stranger_s_session_by_logout(front: Front) -> None:
    """Another user's session is as unknown as one that doesn't exist."""
    admin = await front.with_asha()
    asha = (await front.signed_in("asha", ASHAS_PASSWORD)).access_token
    admins = (await front.call(api.WhoAmIRequest(), admin)).session_id
    assert (await front.refused(api.LogoutRequest(session_id=admins), asha)).reason == "SESSION_NOT_FOUND"
    assert (await front.refused(api.LogoutRequest(session_id="x"), asha)).reason == "SESSION_NOT_FOUND"
    assert front.standing(admin) == ""


async def test_a_changed_password_ends_the_other_sessions(front: Front) -> None:
    """The session that changed it goes on; the same request again is answered, though the old password is wrong by then."""
    await front.with_asha()
    here, there = [(await front.signed_in("asha", ASHAS_PASSWORD)).access_token for _ in range(2)]
    wrong = api.ChangePasswordRequest(current_password="guess", new_password=NEW)
    assert (await front.refused(wrong, here)).reason == "LOGIN_REFUSED"
    change = api.ChangePasswordRequest(request_id="c", current_password=ASHAS_PASSWORD, new_password=NEW)
    assert (await front.call(change, here)).sessions_ended == 1
    assert (await front.call(change, here)).sessions_ended == 1
    assert [front.standing(token) for token in (here, there)] == ["", "TOKEN_REVOKED"]
    assert (
        await front.refused(api.LoginRequest(user_name="asha", password=ASHAS_PASSWORD))
    ).reason == "LOGIN_REFUSED"
    assert await front.signed_in("asha", NEW)


async def test_a_guessable_new_password_is_refused_by_its_field(front: Front) -> None:
    """The contract's rule and the policy both name the field, and neither shows the password."""
    admin = (await front.signed_in()).access_token
    for password in ("short", "adminadminadmin"):
        refused = await front.refused(
            api.ChangePasswordRequest(current_password=ADMINS_PASSWORD, new_password=password), admin
        )
        assert (refused.code, refused.refused[0][0]) == (grpc.StatusCode.INVALID_ARGUMENT, "new_password")
        assert password not in str(refused)


async def test_sessions_of_a_user_are_bounded(front: Front) -> None:
    """One more than MOST_SESSIONS ends the oldest."""
    oldest = (await front.signed_in()).access_token
    for _ in range(MOST_SESSIONS):
        newest = (await front.signed_in()).access_token
    assert front.standing(oldest) == "TOKEN_REVOKED"
    assert len((await front.call(api.WhoAmIRequest(), newest)).sessions) == MOST_SESSIONS


async def test_no_secret_is_kept_in_clear(front: Front, tables: str) -> None:
    """Neither a password nor a token stands anywhere in the schema, nor in a log line."""
    admin = await front.with_asha()
    tokens = await front.signed_in("asha", ASHAS_PASSWORD)
    made = await front.call(api.CreateServiceAccountRequest(user_name="bot", roles=["viewer"]), admin)
    engine = open_engine(tables, 1)
    async with engine.connect() as connection:
        rows = ""
        for table in ("requests", "users", "sessions", "revocations"):
            dumped = await connection.execute(text(f"SELECT row_to_json(t)::text FROM auth.{table} t"))
            rows += "".join(dumped.scalars())
            in_bytes = await connection.execute(
                text("SELECT encode(answer || body, 'escape') FROM auth.requests")
            )
            rows += "".join(in_bytes.scalars())
    await engine.dispose()
    secrets = [
        ADMINS_PASSWORD,
        ASHAS_PASSWORD,
        tokens.access_token,
        tokens.refresh_token,
        made.tokens.access_token,
    ]
    assert [one for one in secrets if one in rows or one.encode().hex() in rows] == []
    assert [one for one in secrets if one in str(front.log.entries)] == []
