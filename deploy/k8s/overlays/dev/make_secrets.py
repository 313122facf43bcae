"""Prints the Secrets of the dev overlay: passwords, the key that signs tokens, certificates of an authority made now.

    docker run --rm -i --entrypoint python localhost/alphapanda:0.1.0 - < make_secrets.py | kubectl create -f -

Once: the database keeps the password that it was made with. Production has cert-manager and External Secrets instead.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

NAMESPACE: Final = "alphapanda-dev"
SERVICES: Final = ("instruments", "marketdata", "strategy", "risk", "trading", "portfolio", "auth", "ops")


def made() -> Iterator[dict[str, Any]]:
    """The Secrets."""
    database, redis = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    yield _secret(
        "database",
        url=f"postgresql+asyncpg://alphapanda:{database}@postgres:5432/alphapanda",
        password=database,
    )
    configuration = f'requirepass {redis}\nsave ""\nappendonly no\nmaxmemory 192mb\n'
    yield _secret("redis", **{"url": f"redis://:{redis}@redis:6379/0", "redis.conf": configuration})
    yield _secret("auth", **{"private-key": pem, "admin-password": secrets.token_urlsafe(24)})
    with tempfile.TemporaryDirectory() as folder:
        certificates = Path(folder)
        hosts = [part for name in SERVICES for part in ("--host", name)]
        done = subprocess.run(  # noqa: S603
            ["alphapanda", "certs", "dev", folder, *hosts],  # noqa: S607
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(done.stderr or done.stdout)
        authority = (certificates / "ca.pem").read_text()
        for name, file in {"cli": "client", **{name: f"services/{name}" for name in SERVICES}}.items():
            pair = {
                "tls.crt": (certificates / f"{file}.pem").read_text(),
                "tls.key": (certificates / f"{file}.key").read_text(),
            }
            yield _secret(f"{name}-tls", "kubernetes.io/tls", **pair, **{"ca.crt": authority})


def _secret(name: str, kind: str = "Opaque", **values: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/part-of": "alphapanda"},
        },
        "type": kind,
        "stringData": values,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(made())}, indent=1))
    sys.stdout.write("\n")
