"""A token is valid or it isn't, and which of five reasons it is tells a client what to do."""

from __future__ import annotations

from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.revocations import Revocation, Revocations
from alphapanda.mesh.signing_keys import (
    Algorithm,
    SigningKey,
    private_keys,
    public_bytes,
    public_key,
    secret_keys,
)
from alphapanda.mesh.tokens import (
    LEEWAY_SECONDS,
    LONGEST_TOKEN,
    CallerKind,
    Claims,
    TokenRefused,
    TokenType,
    TokenVerifier,
    bearer_of,
    signed,
)
from panda.options.v1 import options_pb2 as options

NOW = 1_800_000_000
[HS256] = secret_keys("a" * 32)
[OTHER] = secret_keys("b" * 32)
CLAIMS = Claims(
    subject="asha",
    kind=CallerKind.PERSON,
    roles=("trader",),
    permissions=frozenset({options.PERMISSION_READ, options.PERMISSION_TRADE}),
    session_id="s1",
    generation=3,
    token_id="t1",
    type=TokenType.ACCESS,
    issuer="alphapanda",
    audience="desk",
    issued_at=NOW,
    expires_at=NOW + 1800,
)


def pem(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def verifier(*keys: SigningKey, revocations: Revocations | None = None, **options_) -> TokenVerifier:
    known = [key.verifying for key in keys or (HS256,)]
    return TokenVerifier(known, "alphapanda", "desk", revocations or Revocations(), **options_)


def reason_of(token: str, by: TokenVerifier | None = None, now: float = NOW, wanted=TokenType.ACCESS) -> str:
    with pytest.raises(TokenRefused) as refused:
        (by or verifier()).verify(token, now, wanted)
    return refused.value.reason


@pytest.fixture(scope="module")
def eddsa() -> SigningKey:
    [key] = private_keys(pem(Ed25519PrivateKey.generate()))
    return key


def test_what_was_signed_is_what_is_claimed(eddsa):
    """Every claim comes back, whichever algorithm signed it."""
    assert verifier().verify(signed(CLAIMS, HS256), NOW) == CLAIMS
    assert verifier(eddsa).verify(signed(CLAIMS, eddsa), NOW) == CLAIMS
    refresh = replace(CLAIMS, type=TokenType.REFRESH, rotation=7)
    assert verifier().verify(signed(refresh, HS256), NOW, TokenType.REFRESH) == refresh


def test_the_same_claims_make_the_same_token(eddsa):
    """An answer that was lost can be given again without having been kept."""
    assert signed(CLAIMS, HS256) == signed(CLAIMS, HS256)
    assert signed(CLAIMS, eddsa) == signed(CLAIMS, eddsa)


def test_it_expires_after_the_leeway():
    """The issuer's clock may be LEEWAY_SECONDS ahead or behind, and no more, also where the signature was seen before."""
    by, token = verifier(), signed(CLAIMS, HS256)
    last = CLAIMS.expires_at + LEEWAY_SECONDS
    assert by.verify(token, last - 0.1) == CLAIMS
    assert reason_of(token, by, last) == "TOKEN_EXPIRED"
    assert by.cached == 0
    assert by.verify(token, NOW - LEEWAY_SECONDS) == CLAIMS
    with pytest.raises(TokenRefused, match="120 s ahead of this machine's clock") as refused:
        verifier().verify(token, NOW - 120)
    assert (refused.value.reason, refused.value.metadata) == ("TOKEN_INVALID", {"cause": "issued_at"})


def test_a_token_of_another_type_is_told_apart():
    """A refresh token opens no call, and an access token refreshes nothing."""
    refresh = signed(replace(CLAIMS, type=TokenType.REFRESH), HS256)
    assert reason_of(refresh) == "TOKEN_WRONG_TYPE"
    assert reason_of(signed(CLAIMS, HS256), wanted=TokenType.REFRESH) == "TOKEN_WRONG_TYPE"


def test_a_revoked_session_is_told_apart_at_once():
    """A session's end holds for a token that was accepted a moment before."""
    revocations = Revocations()
    by, token = verifier(revocations=revocations), signed(CLAIMS, HS256)
    by.verify(token, NOW)
    revocations.apply([Revocation(session_id="s1", forget_at=NOW + 60)], NOW)
    assert reason_of(token, by) == "TOKEN_REVOKED"


def test_older_tokens_of_a_user_end_or_are_to_be_refreshed():
    """A disabled user's tokens are revoked; after a change of roles they count as expired, so that clients refresh them."""
    for refreshable, reason in ((False, "TOKEN_REVOKED"), (True, "TOKEN_EXPIRED")):
        revocations = Revocations()
        by = verifier(revocations=revocations)
        change = Revocation(subject="asha", below_generation=4, refreshable=refreshable, forget_at=NOW + 60)
        revocations.apply([change], NOW)
        assert reason_of(signed(CLAIMS, HS256), by) == reason
        assert by.verify(signed(replace(CLAIMS, generation=4), HS256), NOW).generation == 4
        assert by.verify(signed(replace(CLAIMS, subject="ravi"), HS256), NOW).subject == "ravi"
        stale = signed(replace(CLAIMS, type=TokenType.REFRESH), HS256)
        if refreshable:  # the refresh token is what fetches the new roles
            assert by.verify(stale, NOW, TokenType.REFRESH)
        else:
            assert reason_of(stale, by, wanted=TokenType.REFRESH) == "TOKEN_REVOKED"


def test_revocations_are_forgotten_when_they_concern_no_token():
    """What can be revoked stays bounded by the tokens that are alive."""
    revocations = Revocations()
    revocations.apply([Revocation(session_id=f"s{n}", forget_at=NOW + n) for n in range(100)], NOW)
    revocations.apply([Revocation(subject="asha", below_generation=2, forget_at=NOW + 10)], NOW)
    assert revocations.entries == 100
    revocations.apply([], NOW + 50)
    assert revocations.entries == 49


def forged() -> dict[str, str]:
    """Tokens that nobody here issued, by what is wrong with them."""
    payload = jwt.decode(signed(CLAIMS, HS256), options={"verify_signature": False})
    good = {"kid": HS256.kid}
    ec = generate_private_key(SECP256R1())
    secret = HS256.material

    def hs256(claims, header=None, key=secret):
        return jwt.encode(claims, key, "HS256", header or good)

    made = {
        "nothing": "",
        "no token": "Bearer",
        "two parts": ".".join(signed(CLAIMS, HS256).split(".")[:2]),
        "bytes": "\xff\x00.\udcff.a",
        "too long": "a" * (LONGEST_TOKEN + 1),
        "algorithm none": jwt.encode(payload, None, "none", good),
        "another algorithm": jwt.encode(payload, secret * 2, "HS512", good),
        "an asymmetric algorithm": jwt.encode(payload, ec, "ES256", good),
        "no kid": jwt.encode(payload, secret, "HS256"),
        "unknown kid": hs256(payload, {"kid": OTHER.kid}, OTHER.material),
        "another secret under our kid": hs256(payload, good, OTHER.material),
        "critical header": hs256(payload, good | {"crit": ["x"], "x": 1}),
        "wrong audience": hs256(payload | {"aud": "other"}),
        "audience among several": hs256(payload | {"aud": ["desk", "other"]}),
        "wrong issuer": hs256(payload | {"iss": "other"}),
        "unknown type": hs256(payload | {"typ": "id"}),
        "unknown kind": hs256(payload | {"kind": "root"}),
        "exp as text": hs256(payload | {"exp": "tomorrow"}),
        "exp as a fraction": hs256(payload | {"exp": NOW + 0.5}),
        "exp as true": hs256(payload | {"exp": True}),
        "roles as a number": hs256(payload | {"roles": 5}),
        "permission as a number": hs256(payload | {"permissions": [5]}),
        "empty subject": hs256(payload | {"sub": ""}),
    }
    for claim in ("iss", "aud", "sub", "kind", "sid", "jti", "typ", "iat", "exp"):
        made[f"no {claim}"] = hs256({name: value for name, value in payload.items() if name != claim})
    return made


@pytest.mark.parametrize("what", forged())
def test_what_nobody_here_issued_is_invalid(what):
    """Whatever is forged, it is TOKEN_INVALID, and nothing of it is kept."""
    by = verifier()
    assert reason_of(forged()[what], by) == "TOKEN_INVALID"
    assert by.cached == 0


def test_a_public_key_is_no_secret(eddsa):
    """A token signed with HS256 by the bytes of the public key is refused: the key names its only algorithm."""
    raw = public_bytes(eddsa.material.public_key())
    forged_token = jwt.encode(
        jwt.decode(signed(CLAIMS, eddsa), options={"verify_signature": False}),
        raw,
        "HS256",
        {"kid": eddsa.kid},
    )
    assert reason_of(forged_token, verifier(eddsa)) == "TOKEN_INVALID"


def test_a_changed_token_is_invalid():
    """No single character of the signed part can be changed."""
    token = signed(CLAIMS, HS256)
    head, body, signature = token.split(".")
    for at in range(0, len(body), 7):
        changed = body[:at] + ("A" if body[at] != "A" else "B") + body[at + 1 :]
        assert reason_of(f"{head}.{changed}.{signature}") == "TOKEN_INVALID"


def test_keys_rotate_by_their_name(eddsa):
    """A new key signs while the old one still verifies; once it is taken away, its tokens end at once."""
    [newer] = private_keys(pem(Ed25519PrivateKey.generate()))
    by = verifier(newer, eddsa)
    old, new = signed(CLAIMS, eddsa), signed(CLAIMS, newer)
    assert by.verify(old, NOW) == by.verify(new, NOW) == CLAIMS
    by.replace_keys([newer.verifying])
    assert reason_of(old, by) == "TOKEN_INVALID"
    assert by.verify(new, NOW) == CLAIMS


def test_a_public_key_travels_as_its_bytes(eddsa):
    """Other services make the verifying key of 32 bytes, under the same name."""
    travelled = public_key(public_bytes(eddsa.material.public_key()))
    assert travelled.kid == eddsa.kid
    by = TokenVerifier([travelled], "alphapanda", "desk", Revocations())
    assert by.verify(signed(CLAIMS, eddsa), NOW) == CLAIMS
    with pytest.raises(InvalidInput):
        public_key(b"short")


def test_the_cache_is_bounded():
    """However many tokens come, no more than most_cached are remembered."""
    by = verifier(most_cached=10)
    for n in range(30):
        by.verify(signed(replace(CLAIMS, token_id=str(n)), HS256), NOW)
    assert by.cached == 10


def test_a_short_secret_is_refused_and_not_shown():
    """Fewer than 32 bytes can be guessed; the message names the setting, not the secret."""
    for text in ("hunter2", "", f"{'a' * 32},hunter2"):
        with pytest.raises(InvalidInput, match=r"auth\.secret.*at least 32 bytes") as refused:
            secret_keys(text)
        assert "hunter2" not in str(refused.value)
    assert [key.algorithm for key in secret_keys(f"{'a' * 32}, {'b' * 40}\n")] == [Algorithm.HS256] * 2


def test_a_private_key_that_is_none_is_refused():
    """Neither an empty text nor another kind of key is taken, and what was given isn't shown."""
    for text in (
        "",
        "hunter2",
        pem(generate_private_key(SECP256R1())),
        "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----",  # pragma: allowlist secret
    ):
        with pytest.raises(InvalidInput, match=r"auth\.private_key") as refused:
            private_keys(text)
        assert "hunter2" not in str(refused.value)
    both = private_keys(pem(Ed25519PrivateKey.generate()) + pem(Ed25519PrivateKey.generate()))
    assert len({key.kid for key in both}) == 2


def test_no_key_shows_itself():
    """A key's repr has its name only."""
    assert "aaaa" not in repr(HS256)
    assert "aaaa" not in repr(HS256.verifying)


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer  ", "Basic abc", b"\xff"])
def test_a_call_without_a_token_is_missing_one(given):
    """What isn't a bearer token is no token."""
    with pytest.raises(TokenRefused) as refused:
        bearer_of(given)
    assert refused.value.reason == "TOKEN_MISSING"


def test_a_bearer_token_is_read_however_it_is_written():
    """The scheme's case doesn't matter, and bytes are read as text."""
    assert bearer_of("bearer abc") == bearer_of(b"Bearer abc ") == bearer_of("BEARER abc") == "abc"


def test_a_permission_that_is_not_known_permits_nothing():
    """A token of a newer auth has permissions that this program doesn't know; the others count."""
    payload = jwt.decode(signed(CLAIMS, HS256), options={"verify_signature": False})
    token = jwt.encode(
        payload | {"permissions": ["READ", "FLY"]}, HS256.material, "HS256", {"kid": HS256.kid}
    )
    assert verifier().verify(token, NOW).permissions == {options.PERMISSION_READ}
