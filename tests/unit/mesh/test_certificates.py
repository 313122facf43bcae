"""PEM files are checked before they are used; new ones are taken over while a process runs, unless they can't be used."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.certificates import certificate_facts, check_authority, check_pair, service_of
from alphapanda.mesh.dev_certificates import Pair, new_authority, new_certificate
from alphapanda.mesh.tls import LOOK_SECONDS, TlsFiles, TlsMaterial

NOW = datetime(2026, 11, 30, 9, 15, tzinfo=UTC)
URI = "spiffe://alphapanda/service/risk"
TEMPLATE = "spiffe://alphapanda/service/{service}"
SERVICES = ("risk", "trading")


@pytest.fixture(scope="module")
def authority() -> Pair:
    return new_authority(NOW, 3650)


@pytest.fixture(scope="module")
def risk(authority: Pair) -> Pair:
    return new_certificate(authority, "risk", NOW, 30, hosts=("localhost", "127.0.0.1", "::1"), uri=URI)


class Files:
    """Certificate, key and authority in a folder, and material read from them at a time that a test chooses."""

    def __init__(self, folder: Path, pair: Pair, authority: Pair) -> None:
        self.now = NOW
        self.seconds = 0.0
        self.files = TlsFiles(folder / "own.pem", folder / "own.key", folder / "ca.pem")
        self.folder = folder
        self._written = 0
        self.write("ca.pem", authority.certificate)
        self.write("own.key", pair.key)
        self.write("own.pem", pair.certificate)

    def write(self, name: str, contents: bytes) -> None:
        self._written += 1
        (self.folder / name).write_bytes(contents)
        os.utime(self.folder / name, ns=(self._written, self._written))

    def material(self) -> TlsMaterial:
        return TlsMaterial(self.files, lambda: self.now, lambda: self.seconds)

    def look(self, material: TlsMaterial) -> int:
        self.seconds += LOOK_SECONDS
        return material.look()


@pytest.fixture
def files(tmp_path: Path, risk: Pair, authority: Pair) -> Files:
    return Files(tmp_path, risk, authority)


def test_a_certificate_says_whom_it_stands_for(risk: Pair) -> None:
    """Names, addresses, URIs, issuer and validity are read; dates are aware."""
    facts = certificate_facts(risk.certificate, "tls.certificate", "own.pem")
    assert facts.names == ("localhost", "127.0.0.1", "::1")
    assert (facts.subject, facts.issuer, facts.uris) == ("risk", "Alpha Panda development CA", (URI,))
    assert facts.not_after == NOW + timedelta(days=30)


@pytest.mark.parametrize(
    ("uris", "service"),
    [
        ((URI,), "risk"),
        (("spiffe://elsewhere/service/risk", URI), "risk"),
        (("spiffe://alphapanda/service/risk/",), None),
        (("spiffe://alphapanda/service/admin",), None),
        (("spiffe://evil/service/risk",), None),
        ((), None),
    ],
)
def test_only_the_exact_uri_of_a_known_service_makes_a_service(uris, service) -> None:
    """Another trust domain, a longer path and a service that doesn't exist stand for nobody."""
    assert service_of(uris, TEMPLATE, SERVICES) == service


def test_a_pair_that_cannot_be_used_is_refused_by_setting_and_file(risk: Pair, authority: Pair) -> None:
    """Swapped files, another key, a key with a password's place empty, an expired and a future certificate: each says what is wrong."""
    names = ("own.pem", "own.key")
    other = new_certificate(authority, "other", NOW, 30)

    def refusal(certificate: bytes, key: bytes, now: datetime = NOW) -> str:
        with pytest.raises(InvalidInput) as refused:
            check_pair(certificate, key, names, now)
        assert key.decode(errors="replace") not in str(refused.value), "a key stands in no message"
        return str(refused.value)

    assert (
        "tls.certificate: 'own.pem' is not allowed; a PEM file with a certificate; a private key stands"
        in refusal(risk.key, risk.certificate)
    )
    assert refusal(risk.certificate, other.key) == (
        "tls.key: 'own.key' is not allowed; the key of the certificate in own.pem"
    )
    assert "a PEM file with a private key" in refusal(risk.certificate, b"nothing")
    assert "expired on 30 Dec 2026" in refusal(risk.certificate, risk.key, NOW + timedelta(days=31))
    assert "begins on 30 Nov 2026" in refusal(risk.certificate, risk.key, NOW - timedelta(days=1))
    with pytest.raises(InvalidInput, match=r"tls\.ca.*there is none in it"):
        check_authority(b"", "ca.pem", NOW)
    with pytest.raises(InvalidInput, match="that has not expired"):
        check_authority(authority.certificate, "ca.pem", NOW + timedelta(days=4000))


def test_new_files_are_taken_over_and_others_are_not_read(files: Files, authority: Pair) -> None:
    """A new pair raises the version once; files that haven't changed keep it."""
    material = files.material()
    assert files.look(material) == 1
    new = new_certificate(authority, "risk", NOW, 60)
    files.write("own.key", new.key)
    files.write("own.pem", new.certificate)
    assert files.look(material) == 2
    assert material.contents.certificate == new.certificate
    assert files.look(material) == 2


def test_the_files_are_looked_at_once_a_second_at_most(files: Files, authority: Pair) -> None:
    """Handshakes that come together look once."""
    material = files.material()
    new = new_certificate(authority, "risk", NOW, 60)
    files.write("own.key", new.key)
    files.write("own.pem", new.certificate)
    assert material.look() == 1
    assert files.look(material) == 2


def test_what_cannot_be_used_leaves_the_old_certificate_and_says_so(
    files: Files, authority: Pair, risk: Pair
) -> None:
    """Half a replacement, garbage and a file that is gone keep the old contents; the whole pair is then taken over."""
    material = files.material()
    new = new_certificate(authority, "risk", NOW, 60)
    files.write("own.pem", new.certificate)
    assert files.look(material) == 1
    assert "the key of the certificate" in material.problem
    files.write("own.pem", b"garbage")
    files.look(material)
    assert "there is none in it" in material.problem
    files.files.certificate.unlink()
    files.look(material)
    assert "No such file" in material.problem
    assert material.contents.certificate == risk.certificate
    files.write("own.key", new.key)
    files.write("own.pem", new.certificate)
    assert files.look(material) == 2
    assert material.problem == ""


def test_an_old_certificate_that_comes_back_is_no_problem_any_more(files: Files, risk: Pair) -> None:
    """A replacement that is taken back ends the problem without a new version."""
    material = files.material()
    files.write("own.pem", b"garbage")
    files.look(material)
    files.write("own.pem", risk.certificate)
    assert files.look(material) == 1
    assert material.problem == ""


def test_a_start_with_files_that_cannot_be_used_is_refused(files: Files) -> None:
    """A missing file, and a certificate without its key, are refused by setting."""
    files.files.key.unlink()
    with pytest.raises(InvalidInput, match=r"tls\.key: .*No such file"):
        files.material()
    with pytest.raises(InvalidInput, match=r"tls\.key: '' is not allowed"):
        TlsMaterial(TlsFiles(files.files.certificate))
