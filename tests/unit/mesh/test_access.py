"""Who calls and what they may do: the token, the certificate, or nobody; the permission that the contract names."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from alphapanda.mesh.access import NO_AUTHENTICATION, Access
from alphapanda.mesh.caller import LOCAL
from alphapanda.mesh.certificates import service_of
from alphapanda.mesh.errors import PermissionDenied, TooMany
from alphapanda.mesh.identity import ANONYMOUS, OF_SERVICES
from alphapanda.mesh.own_tokens import RENEWED_BEFORE_SECONDS, VALID_SECONDS, OwnTokens
from alphapanda.mesh.rates import MOST_CALLERS, CallerRates
from alphapanda.mesh.revocations import Revocation, Revocations
from alphapanda.mesh.signing_keys import secret_keys
from alphapanda.mesh.tokens import CallerKind, Claims, TokenRefused, TokenType, TokenVerifier, signed
from panda.options.v1 import options_pb2 as options

NOW = 1_800_000_000.0
KEY = secret_keys("k" * 40)[0]
READ, INTERNAL, TRADE = options.PERMISSION_READ, options.PERMISSION_INTERNAL, options.PERMISSION_TRADE
RISK = b"spiffe://alphapanda/service/risk"


@dataclass
class Call:
    """What gRPC says of a call."""

    metadata: list[tuple[str, str]] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    dns: list[bytes] = field(default_factory=list)

    def invocation_metadata(self):
        return self.metadata

    def auth_context(self):
        return {
            "x509_subject_alternative_name": [*self.dns, *self.names],
            "peer_uri": self.names,
            "peer_dns": self.dns,
        }


def token(**changed) -> str:
    claims = {
        "subject": "ravi",
        "kind": CallerKind.PERSON,
        "roles": ("trader",),
        "permissions": frozenset({READ, TRADE}),
        "session_id": "s-1",
        "generation": 0,
        "token_id": "t-1",
        "type": TokenType.ACCESS,
        "issuer": "alphapanda",
        "audience": "alphapanda",
        "issued_at": int(NOW) - 10,
        "expires_at": int(NOW) + 600,
    }
    return signed(Claims(**(claims | changed)), KEY)


def with_token(*tokens: str, **more) -> Call:
    return Call([("authorization", f"Bearer {each}") for each in tokens], **more)


@pytest.fixture
def revocations() -> Revocations:
    return Revocations()


@pytest.fixture
def access(revocations: Revocations) -> Access:
    verifier = TokenVerifier([KEY.verifying], "alphapanda", "alphapanda", revocations)

    def service(uris):
        return service_of(uris, "spiffe://alphapanda/service/{service}", ("risk",))

    return Access(verifier, service, lambda: NOW, lambda _: ("risk_manager", "admin"))


def refused(access: Access, call: Call, permission: int = READ) -> str:
    with pytest.raises(TokenRefused) as refusal:
        access.identify(permission, call)
    return refusal.value.reason


def test_where_authentication_is_off_everybody_is_local() -> None:
    """Whatever a call brings along, its caller is `local`, who may do everything."""
    identity = NO_AUTHENTICATION.identify(INTERNAL, with_token("nonsense"))
    NO_AUTHENTICATION.require(identity, INTERNAL)
    assert identity.caller == LOCAL


def test_a_token_says_who_calls_and_metadata_does_not(access: Access) -> None:
    """The caller is the token's subject; keys that look like a caller are nothing."""
    call = with_token(token())
    call.metadata += [("x-caller", "admin"), ("caller", "service:risk"), ("x-forwarded-user", "admin")]
    identity = access.identify(READ, call)
    assert (identity.caller, identity.kind, identity.roles) == ("ravi", CallerKind.PERSON, ("trader",))


def test_a_service_is_known_by_its_token_or_its_certificate(access: Access) -> None:
    """Both make the same caller; the certificate's has the permissions of services and no more."""
    by_token = access.identify(READ, with_token(token(subject="risk", kind=CallerKind.SERVICE)))
    by_certificate = access.identify(READ, Call(names=[b"localhost", RISK]))
    assert by_token.caller == by_certificate.caller == "service:risk"
    assert by_certificate.permissions == OF_SERVICES
    with pytest.raises(PermissionDenied):
        access.require(by_certificate, TRADE)


def test_a_token_stands_above_the_certificate(access: Access) -> None:
    """A call with a person's token over a service's connection is the person's, and a bad token isn't forgiven."""
    assert access.identify(READ, with_token(token(), names=[RISK])).caller == "ravi"
    assert refused(access, with_token("nonsense", names=[RISK])) == "TOKEN_INVALID"


def test_nobody_is_not_let_in(access: Access, revocations: Revocations) -> None:
    """No token, another scheme, two tokens, another name's certificate, an expired and a revoked token: refused with a reason each."""
    assert refused(access, Call()) == "TOKEN_MISSING"
    assert refused(access, Call([("authorization", "Basic cmF2aTpwYXNz")])) == "TOKEN_MISSING"
    assert refused(access, with_token(token(), token())) == "TOKEN_INVALID"
    assert refused(access, Call(names=[b"spiffe://alphapanda/service/other"])) == "TOKEN_MISSING"
    assert refused(access, with_token(token(expires_at=int(NOW) - 60))) == "TOKEN_EXPIRED"
    assert refused(access, with_token(token(type=TokenType.REFRESH))) == "TOKEN_WRONG_TYPE"
    revocations.apply([Revocation(session_id="s-1", forget_at=NOW + 600)], NOW)
    assert refused(access, with_token(token())) == "TOKEN_REVOKED"


def test_a_missing_permission_is_named_with_who_has_it(access: Access) -> None:
    """The refusal says the permission, the caller with its roles, and which roles have it."""
    identity = access.identify(READ, with_token(token()))
    access.require(identity, TRADE)
    access.require(identity, options.PERMISSION_AUTHENTICATED)
    with pytest.raises(PermissionDenied) as refusal:
        access.require(identity, options.PERMISSION_MANAGE_RISK)
    assert str(refusal.value) == (
        "this call needs the permission MANAGE_RISK, which ravi (trader) lacks; risk_manager, admin have it"
    )


def test_internal_calls_are_for_services_alone(access: Access) -> None:
    """A person whose token claims it doesn't have PERMISSION_INTERNAL; a service's has."""
    forged = access.identify(INTERNAL, with_token(token(permissions=frozenset({INTERNAL}))))
    with pytest.raises(PermissionDenied, match="for services alone"):
        access.require(forged, INTERNAL)
    service = token(subject="risk", kind=CallerKind.SERVICE, permissions=frozenset({INTERNAL}))
    access.require(access.identify(INTERNAL, with_token(service)), INTERNAL)


def test_public_calls_need_no_token_and_read_none(access: Access) -> None:
    """Who signs in may still have an old token: it counts for nothing there."""
    identity = access.identify(options.PERMISSION_PUBLIC, with_token("nonsense"))
    access.require(identity, options.PERMISSION_PUBLIC)
    assert identity.caller == ANONYMOUS


def test_a_services_own_tokens_are_valid_and_renewed(access: Access) -> None:
    """The same token for some minutes, then a new one; each is the service's, with the permissions it needs."""
    times = [NOW]
    own = OwnTokens("risk", OF_SERVICES, KEY, "alphapanda", "alphapanda", lambda: times[0])
    first = own()
    assert access.identify(INTERNAL, with_token(first)).caller == "service:risk"
    times[0] += VALID_SECONDS - RENEWED_BEFORE_SECONDS - 1
    assert own() == first
    times[0] += 1
    assert own() != first


def test_a_dns_name_that_reads_like_a_services_uri_makes_no_service() -> None:
    """An authority checks a host's name in another way than a service's URI, so the one never stands for the other."""
    access = Access(
        TokenVerifier([KEY.verifying], "alphapanda", "alphapanda", Revocations()),
        lambda uris: service_of(uris, "spiffe://alphapanda/service/{service}", ("risk",)),
    )
    assert access.identify(INTERNAL, Call(names=[RISK])).caller == "service:risk"
    with pytest.raises(TokenRefused):
        access.identify(INTERNAL, Call(dns=[RISK]))


def test_a_users_revocation_never_concerns_the_service_of_that_name() -> None:
    """Whoever is called risk loses tokens; the service risk, which signs its own, goes on calling."""
    revocations = Revocations()
    access = Access(TokenVerifier([KEY.verifying], "alphapanda", "alphapanda", revocations), now=lambda: NOW)
    for refreshable in (True, False):
        revoked = Revocation(subject="risk", below_generation=2, refreshable=refreshable, forget_at=NOW + 999)
        revocations.apply([revoked], NOW)
        own = OwnTokens("risk", OF_SERVICES, KEY, "alphapanda", "alphapanda", lambda: NOW)
        assert access.identify(INTERNAL, with_token(own())).caller == "service:risk"
        for kind in CallerKind:
            with pytest.raises(TokenRefused):
                access.identify(READ, with_token(token(subject="risk", kind=kind)))


def test_a_caller_who_asks_too_often_is_refused_and_others_are_not() -> None:
    """Two seconds' requests at once, then as many as the rate allows; each caller for itself; 0 is no limit."""
    rates = CallerRates(10)
    for _ in range(20):
        rates.take("ravi", 1.0)
    with pytest.raises(TooMany, match="ravi makes more than 10 requests a second"):
        rates.take("ravi", 1.0)
    rates.take("meera", 1.0)
    rates.take("ravi", 1.125)
    with pytest.raises(TooMany):
        rates.take("ravi", 1.125)
    for _ in range(100):
        CallerRates(0).take("ravi", NOW)


def test_callers_that_were_quiet_are_forgotten() -> None:
    """However many callers there were, those with nothing to remember take no memory."""
    rates = CallerRates(1)
    for number in range(MOST_CALLERS + 50):
        rates.take(f"c{number}", NOW + number * 0.001)
    assert len(rates._left) <= MOST_CALLERS
