"""`alphapanda certs`: certificates for trying TLS, their keys for their owner alone; what a certificate says."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from alphapanda.cli import main
from alphapanda.commands.finding import SERVICES
from alphapanda.mesh.certificates import certificate_facts, service_of
from alphapanda.mesh.tls import TlsFiles, TlsMaterial


def ran(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["certs", *arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tls") / "certs"
    ran("dev", str(folder), "--host", "panda.example")
    return folder


def test_every_service_has_a_certificate_that_names_it(made: Path) -> None:
    """Each pair can be used, a service's URI stands for that service alone, and servers have the host that was asked for."""
    for service in SERVICES:
        pair = made / "services" / service
        material = TlsMaterial(TlsFiles(Path(f"{pair}.pem"), Path(f"{pair}.key"), made / "ca.pem"))
        assert {"localhost", "127.0.0.1", "panda.example", service} <= set(material.names)
        uris = material.contents.facts.uris
        assert service_of(uris, "spiffe://alphapanda/service/{service}", SERVICES) == service
    assert certificate_facts((made / "client.pem").read_bytes(), "", "").uris == ()


def test_keys_are_for_their_owner_alone(made: Path) -> None:
    """Every private key has mode 0600."""
    keys = [*made.rglob("*.key")]
    assert len(keys) == 3 + len(SERVICES)
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_a_second_run_renews_and_keeps_the_authority(made: Path) -> None:
    """Certificates are new, of the same authority; nothing else is left in the folder."""
    before = {file: file.read_bytes() for file in made.rglob("*") if file.is_file()}
    assert "renewed 10 certificates" in ran("dev", str(made), "--days", "3", "--host", "panda.example")
    after = {file: file.read_bytes() for file in made.rglob("*") if file.is_file()}
    assert before.keys() == after.keys()
    assert {file.name for file in before if before[file] == after[file]} == {"ca.pem", "ca.key"}


def test_half_an_authority_is_refused(made: Path, tmp_path: Path) -> None:
    """A folder whose authority lacks its key is left as it is, and the line says what is missing."""
    (tmp_path / "ca.pem").write_bytes((made / "ca.pem").read_bytes())
    assert "ca.key is missing beside ca.pem" in ran("dev", str(tmp_path), code=2)


def test_a_certificate_is_shown_and_other_files_are_refused(made: Path) -> None:
    """`certs show` says whom it stands for; a key in its place is refused by name, and not shown."""
    shown = ran("show", str(made / "services" / "risk.pem"))
    assert "spiffe://alphapanda/service/risk" in shown
    refused = ran("show", str(made / "ca.key"), code=2)
    assert "a private key stands in it" in refused
    assert "BEGIN" not in refused
    assert "No such file" in ran("show", str(made / "none.pem"), code=2)
