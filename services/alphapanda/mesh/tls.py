"""TLS of a process: its certificate, key and authority, read from PEM files and read again when they change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import grpc

from alphapanda.domain.errors import InvalidInput

if TYPE_CHECKING:
    from alphapanda.mesh.certificates import CertificateFacts

LOOK_SECONDS: Final = 1.0
"""Between two looks at the files: a handshake costs no more than three of them."""
LARGEST_FILE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files.

    Attributes:
        certificate: own certificate; None where this side shows none.
        key: its private key.
        ca: authority of the other side's certificates; None: those that the system trusts.
    """

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class TlsContents:
    """What the files hold; None where there is no such file.

    Attributes:
        facts: of the own certificate.
    """

    certificate: bytes | None
    key: bytes | None
    ca: bytes | None
    facts: CertificateFacts | None


_Stamp = tuple[tuple[int, int, int] | None, ...]


class TlsMaterial:
    """The contents of TLS files, checked before they are used. Thread-safe: gRPC's own threads ask for them.

    Where new contents can't be used, the old ones stay, and `problem` says why.

    Args:
        files: the files.
        now: wall time.
        clock: seconds of a clock that never goes back, for the pace of looks.

    Attributes:
        contents: what is used.
        version: rises with each change of `contents`.
        problem: why the files' newest contents aren't used; empty where they are.

    Raises:
        InvalidInput: the files can't be used.
    """

    def __init__(
        self,
        files: TlsFiles,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.files = files
        self._now = now
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = clock()
        self._stamp = self._stamped()
        self.contents = self._read()
        self.version = 1
        self.problem = ""

    @property
    def names(self) -> tuple[str, ...]:
        """DNS names and addresses of the own certificate."""
        return () if self.contents.facts is None else self.contents.facts.names

    def look(self) -> int:
        """Reads the files again where they have changed, at most once in LOOK_SECONDS; returns the version. Never raises."""
        if self._clock() - self._looked_at < LOOK_SECONDS:
            return self.version
        with self._lock:
            self._looked_at = self._clock()
            try:
                stamp = self._stamped()  # before reading, so that a change meanwhile is seen the next time
                if stamp != self._stamp or self.problem:
                    changed = self._read()
                    if changed != self.contents:
                        self.contents = changed
                        self.version += 1
                    self._stamp = stamp
                    self.problem = ""
            except (InvalidInput, OSError) as error:
                self.problem = str(error)
        return self.version

    def _stamped(self) -> _Stamp:
        return tuple(
            _stamp_of(file, setting)
            for file, setting in (
                (self.files.certificate, "tls.certificate"),
                (self.files.key, "tls.key"),
                (self.files.ca, "tls.ca"),
            )
        )

    def _read(self) -> TlsContents:
        from alphapanda.mesh.certificates import (  # noqa: PLC0415 - importing it takes time, which a start without TLS saves
            check_authority,
            check_pair,
        )

        certificate, key = self.files.certificate, self.files.key
        if (certificate is None) is not (key is None):
            missing = "tls.key" if key is None else "tls.certificate"
            raise InvalidInput(missing, "", "set where the other of tls.certificate and tls.key is")
        now = self._now()
        ca = None if self.files.ca is None else _contents(self.files.ca, "tls.ca")
        if ca is not None:
            check_authority(ca, str(self.files.ca), now)
        if certificate is None or key is None:
            return TlsContents(None, None, ca, None)
        pair = _contents(certificate, "tls.certificate"), _contents(key, "tls.key")
        return TlsContents(*pair, ca, check_pair(*pair, (str(certificate), str(key)), now))


def server_credentials(material: TlsMaterial, *, client_certificates: bool) -> grpc.ServerCredentials:
    """Credentials of a server; each handshake uses the newest certificate.

    Args:
        material: has a certificate, and where clients have to show one an authority.
        client_certificates: whether clients have to show one (mTLS).
    """
    given = material.version
    lock = threading.Lock()

    def newest() -> Any:  # None where nothing changed, which the stubs don't know
        nonlocal given
        with lock:
            version = material.look()
            if version == given:
                return None
            given = version
            return _server_configuration(material.contents)

    return grpc.dynamic_ssl_server_credentials(
        _server_configuration(material.contents), newest, require_client_authentication=client_certificates
    )


def channel_credentials(contents: TlsContents) -> grpc.ChannelCredentials:
    """Credentials of a channel."""
    return grpc.ssl_channel_credentials(
        root_certificates=contents.ca or system_authorities(),
        private_key=contents.key,
        certificate_chain=contents.certificate,
    )


def system_authorities() -> bytes | None:
    """The certificate authorities that the system trusts; None where none are found, then gRPC's own."""
    import ssl  # noqa: PLC0415 - rarely needed by commands

    paths = ssl.get_default_verify_paths()
    for place in (paths.cafile, paths.openssl_cafile):
        if place and Path(place).is_file():
            return Path(place).read_bytes()
    return None


def _server_configuration(contents: TlsContents) -> grpc.ServerCertificateConfiguration:
    if contents.key is None or contents.certificate is None:
        raise InvalidInput(
            "tls.certificate", "", "a certificate and its key, because a server has to show one"
        )
    return grpc.ssl_server_certificate_configuration(
        [(contents.key, contents.certificate)], root_certificates=contents.ca
    )


def _stamp_of(file: Path | None, setting: str) -> tuple[int, int, int] | None:
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError as error:
        raise InvalidInput(setting, file, f"a file that can be read ({error.strerror})") from None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _contents(file: Path, setting: str) -> bytes:
    try:
        with file.open("rb") as opened:
            found = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InvalidInput(setting, file, f"a file that can be read ({error.strerror})") from None
    if len(found) > LARGEST_FILE:
        raise InvalidInput(setting, file, f"a file of at most {LARGEST_FILE} bytes")
    return found
