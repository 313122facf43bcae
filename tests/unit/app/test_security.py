"""How a process says who it is, and whom it serves: what the settings of `tls` and `auth` come to."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from alphapanda.app.security import open_security
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.dev_certificates import new_authority, new_certificate
from alphapanda.mesh.tokens import CallerKind
from alphapanda.settings.sources import load_settings

NOW = datetime.now(UTC)
SECRET = {"AUTH__ENABLED": "true", "AUTH__SECRET": "s" * 40}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """Settings of a certificate that stands for risk, and clients have to show one."""
    folder = tmp_path_factory.mktemp("tls")
    authority = new_authority(NOW, 10)
    pair = new_certificate(
        authority, "risk", NOW, 5, hosts=("panda.example",), uri="spiffe://alphapanda/service/risk"
    )
    (folder / "ca.pem").write_bytes(authority.certificate)
    (folder / "own.pem").write_bytes(pair.certificate)
    (folder / "own.key").write_bytes(pair.key)
    named = {"CA": "ca.pem", "CERTIFICATE": "own.pem", "KEY": "own.key"}
    return {f"TLS__{name}": str(folder / file) for name, file in named.items()}


def opened(service: str = "risk", **environment: str):
    settings = load_settings({f"ALPHAPANDA_{name}": value for name, value in environment.items()})
    return open_security(settings, service)


def test_with_hs256_a_service_signs_its_own_tokens() -> None:
    """Other services know it by a token of the secret that all of them have."""
    security = opened(**SECRET)
    claims = security.verifier.verify(security.channels.token(), datetime.now(UTC).timestamp())
    assert (claims.subject, claims.kind) == ("risk", CallerKind.SERVICE)
    assert security.own.token is security.channels.token


def test_a_certificate_that_says_which_service_it_is_needs_no_token(files) -> None:
    """With mTLS the certificate is the identity; without it, it says nothing to the other side."""
    assert opened(**SECRET, **files, TLS__CLIENT_CERTIFICATES="required").channels.token is None
    assert opened(**SECRET, **files).channels.token is not None


def test_a_token_file_stands_above_both(files, tmp_path: Path) -> None:
    """A service account's token is sent as it is in the file."""
    (tmp_path / "token").write_text("abc.def.ghi\n")
    given = {"AUTH__TOKEN_FILE": str(tmp_path / "token"), "TLS__CLIENT_CERTIFICATES": "required"}
    assert opened(**SECRET, **files, **given).channels.token() == "abc.def.ghi"


def test_who_has_neither_key_nor_certificate_needs_a_token_file(files) -> None:
    """With EdDSA only auth signs: another process without mTLS is told what it lacks."""
    eddsa = {"AUTH__ENABLED": "true", "AUTH__ALGORITHM": "EdDSA"}
    with pytest.raises(InvalidInput, match=r"auth\.token_file.*a service account's token"):
        opened(**eddsa)
    assert opened(**eddsa, **files, TLS__CLIENT_CERTIFICATES="required").channels.token is None


def test_own_calls_ask_for_a_name_that_the_certificate_has(files) -> None:
    """The address that a server binds may not stand in its certificate; other processes' names are verified as they are."""
    security = opened(**SECRET, **files)
    assert (security.own.server_name, security.channels.server_name) == ("panda.example", "")


def test_other_machines_are_served_with_tls_and_authentication_alone(files) -> None:
    """Bound elsewhere: both, or a refusal that names what is missing."""
    elsewhere = {"API__HOST": "0.0.0.0"}
    assert opened(**SECRET, **files, **elsewhere).server.serves_elsewhere
    with pytest.raises(InvalidInput, match=r"without authentication \(auth\.enabled = true\): everybody"):
        opened(**files, **elsewhere)
    with pytest.raises(InvalidInput, match=r"without TLS \(tls\.certificate, tls\.key\): everybody"):
        opened(**SECRET, **elsewhere)


def test_who_only_asks_verifies_without_a_certificate_of_its_own(files) -> None:
    """`doctor` with only `tls.ca` connects with TLS."""
    settings = load_settings({"ALPHAPANDA_TLS__CA": files["TLS__CA"]})
    assert open_security(settings).own.tls.files.certificate is None
    assert open_security(settings).server.tls is None
