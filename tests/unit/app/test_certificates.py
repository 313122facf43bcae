"""A certificate's end is said in time: by doctor, status, log and metric."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from alphapanda.app import certificates
from alphapanda.app.certificates import (
    certificate_days,
    certificate_ending,
    certificate_notices,
    certificate_watch,
)
from alphapanda.app.doctor_tls import tls_findings
from alphapanda.app.findings import Outcome
from alphapanda.mesh.dev_certificates import new_authority, new_certificate
from alphapanda.mesh.tls import TlsFiles, TlsMaterial
from alphapanda.settings.sources import SettingsInvalid, load_settings

NOW = datetime.now(UTC)
DAYS = 30


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    authority = new_authority(NOW, 100)
    own = new_certificate(authority, "server", NOW, DAYS, hosts=("localhost",))
    found = TlsFiles(tmp_path / "own.pem", tmp_path / "own.key", tmp_path / "ca.pem")
    found.certificate.write_bytes(own.certificate)
    found.key.write_bytes(own.key)
    found.key.chmod(0o600)
    found.ca.write_bytes(authority.certificate)
    return found


@pytest.fixture
def material(files: TlsFiles) -> TlsMaterial:
    return TlsMaterial(files)


def settings(files: TlsFiles, **more: str):
    of_files = {"CERTIFICATE": files.certificate, "KEY": files.key, "CA": files.ca}
    return load_settings({f"ALPHAPANDA_TLS__{name}": str(file) for name, file in of_files.items()} | more)


def test_the_end_is_said_from_the_set_day_on(material: TlsMaterial) -> None:
    """Nothing before; then date and days; after it, that nobody can connect."""
    assert certificate_ending(material, NOW, 21) is None
    assert "in 9 days" in certificate_ending(material, NOW + timedelta(days=20, hours=1), 21)
    assert "nobody can connect" in certificate_ending(material, NOW + timedelta(days=31), 21)
    assert round(certificate_days(material)) == DAYS
    assert certificate_days(None) is None


async def test_the_watch_logs_the_end_once_a_day_and_a_refused_replacement_once(
    material: TlsMaterial, monkeypatch
) -> None:
    """Rounds of one day log the nearing end once; files that can't be used are an error in the second round, once; a new pair is told."""
    monkeypatch.setattr("alphapanda.mesh.tls.LOOK_SECONDS", 0.0)
    monkeypatch.setattr(certificates, "wall_clock", lambda: NOW + timedelta(days=20))
    watch = certificate_watch(material, 21)
    good = material.files.certificate.read_bytes()
    with capture_logs() as logged:
        await watch.once()
        material.files.certificate.write_bytes(b"garbage")
        for _ in range(3):
            await watch.once()
        notices = certificate_notices(material, 21)()
        authority = new_authority(NOW, 100)
        new = new_certificate(authority, "server", NOW, 90)
        material.files.key.write_bytes(new.key)
        material.files.certificate.write_bytes(new.certificate)
        await watch.once()
    assert [line["event"] for line in logged] == [
        "tls.certificate_end_neared",
        "tls.certificate_refused",
        "tls.certificate_replaced",
    ]
    assert "there is none in it" in notices[1]
    assert good != material.contents.certificate


def test_the_doctor_reads_the_files(files: TlsFiles) -> None:
    """A good pair is ok with its names and end; a key that everybody may read is a warning; what can't be used would stop a start."""
    assert [one.outcome for one in tls_findings(load_settings({}))] == [Outcome.OK]
    (good,) = tls_findings(settings(files))
    assert (good.outcome, "certificate for localhost, until" in good.reason) == (Outcome.OK, True)
    (near,) = tls_findings(settings(files, ALPHAPANDA_TLS__WARN_DAYS="31"))
    assert (near.outcome, "in 29 days" in near.reason) == (Outcome.WARN, True)
    (stranger,) = tls_findings(settings(files, ALPHAPANDA_TLS__CA=""))
    assert "the authority that tls.certificate comes from (Alpha Panda development CA)" in stranger.reason
    files.key.chmod(0o644)
    assert [one.name for one in tls_findings(settings(files))] == ["tls", "tls key"]
    files.key.unlink()
    (bad,) = tls_findings(settings(files))
    assert (bad.outcome, "tls.key" in bad.reason) == (Outcome.FAIL, True)


def test_settings_of_tls_that_do_not_go_together_are_told() -> None:
    """A certificate without its key, and required client certificates without an authority, are lines of their own."""
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(
            {"ALPHAPANDA_TLS__CERTIFICATE": "own.pem", "ALPHAPANDA_TLS__CLIENT_CERTIFICATES": "required"}
        )
    assert refused.value.problems == (
        "tls.certificate needs tls.key, which is empty: set both or none",
        "tls.client_certificates is required, and tls.ca is empty",
    )
    with pytest.raises(SettingsInvalid, match="SERVICE_ID"):
        load_settings({"ALPHAPANDA_TLS__SERVICE_ID": "spiffe://alphapanda/risk"})
