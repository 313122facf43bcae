"""Makes what the other containers share, once: certificates, passwords and the secret of tokens, in a volume.

Certificates are renewed at each start; what else is there is used again. The volume is as secret as what is in it:
whoever may read it may trade.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path
from typing import Final

NAMES: Final = ("instruments", "marketdata", "strategy", "risk", "trading", "portfolio", "auth", "ops")
SECRETS: Final = ("secret", "admin-password", "postgres-password", "redis-password")


def main(folder: Path, home: Path) -> None:
    """Fills the folder; lets whoever runs commands write to the home."""
    hosts = [part for name in (*NAMES, "localhost", "127.0.0.1") for part in ("--host", name)]
    subprocess.run(["alphapanda", "certs", "dev", str(folder / "certs"), *hosts], check=True)  # noqa: S603, S607
    for name in SECRETS:
        file = folder / name
        if not file.exists():
            file.write_text(secrets.token_urlsafe(48), encoding="utf-8")
    postgres = (folder / "postgres-password").read_text(encoding="utf-8")
    redis = (folder / "redis-password").read_text(encoding="utf-8")
    made = {
        "database-url": f"postgresql+asyncpg://alphapanda:{postgres}@postgres:5432/alphapanda",
        "redis-url": f"redis://:{redis}@redis:6379/0",
        "redis.conf": f'requirepass {redis}\nsave ""\nappendonly no\n',
    }
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    # Each image reads them as a user of its own; but for the authority's key, which only this makes certificates with.
    for path in (folder, *folder.rglob("*")):
        if path.name != "ca.key":
            path.chmod(0o755 if path.is_dir() else 0o644)
    home.chmod(0o1777)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
