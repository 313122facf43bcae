"""Makes today's protos the accepted contract: protos/baseline.binpb, with its reason in protos/CHANGELOG.md.

`make proto-breaking` compares with that image, so a breaking change is only ever made by running this, on purpose
and with a reason.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUF = Path(sys.executable).parent / "buf"
HEADING = (
    "# Contract changes\n\nOne line for each accepted contract, the newest last (`make accept-contract`).\n\n"
)


def main() -> int:
    """Writes the image and the line, or says what is missing and changes nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--why", required=True, help="what changed and why, in one line")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder that holds buf.yaml and protos/")
    arguments = parser.parse_args()
    root: Path = arguments.root
    why = " ".join(arguments.why.split())
    if not why:
        sys.exit('say what changed and why: make accept-contract WHY="..."')
    baseline = root / "protos" / "baseline.binpb"
    changelog = root / "protos" / "CHANGELOG.md"
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        command = [BUF, "build", "--path", "protos/panda", "--exclude-source-info", "--output", image]
        subprocess.run(command, cwd=root, check=True)
        new = image.read_bytes()
    if baseline.exists() and baseline.read_bytes() == new:
        sys.exit("nothing to accept: the protos are the accepted contract")
    baseline.write_bytes(new)
    lines = changelog.read_text(encoding="utf-8") if changelog.exists() else HEADING
    day = datetime.now(tz=UTC).date().isoformat()
    changelog.write_text(f"{lines}- {day}: {why}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
