"""Generates gen/python from protos/: messages, gRPC stubs and their types. Same protos, same bytes.

The whole package is made in a temporary folder and replaces gen/python's in the end, so that a file whose proto is
gone goes too and a failed run changes nothing. google/type and google/rpc come from googleapis-common-protos;
buf/validate has no other home, so it is generated beside ours.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HAS_SERVICE = re.compile(r"^service\s+\w+", re.MULTILINE)


def main() -> int:
    """Generates, or fails with protoc's own words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protos", type=Path, default=ROOT / "protos", help="the folder that holds panda/")
    parser.add_argument("--out", type=Path, default=ROOT / "gen" / "python", help="the folder to replace")
    arguments = parser.parse_args()
    protos: Path = arguments.protos
    third_party = protos / "third_party"
    ours = sorted((protos / "panda").rglob("*.proto"))
    vendored = sorted((third_party / "buf").rglob("*.proto"))
    if not ours:
        sys.exit(f"no proto below {protos / 'panda'}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.out, prefix=".new-") as made:
        out = Path(made)
        includes = [f"-I{third_party}", f"-I{protos}"]  # the inner folder first, or its files get two names
        compile_protos(includes, [f"--python_out={out}", f"--mypy_out=quiet:{out}"], [*vendored, *ours])
        services = [proto for proto in ours if HAS_SERVICE.search(proto.read_text(encoding="utf-8"))]
        if services:
            stubs = [f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet,only_async:{out}"]
            compile_protos(includes, stubs, services)
        make_packages(out)
        replace(out, arguments.out)
    return 0


def compile_protos(includes: list[str], outputs: list[str], protos: list[Path]) -> None:
    """One run of protoc; the mypy plugins are those beside this interpreter."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "grpc_tools.protoc", *includes, *outputs, *map(str, protos)]
    finished = subprocess.run(command, env={**os.environ, "PATH": path}, check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def make_packages(out: Path) -> None:
    """Makes every folder a package and every top one a typed one."""
    for folder in sorted(path for path in out.rglob("*") if path.is_dir()):
        (folder / "__init__.py").touch()
        if folder.parent == out:
            (folder / "py.typed").touch()


def replace(new: Path, old: Path) -> None:
    """Puts each generated top package in the place of the one before."""
    for package in sorted(path for path in new.iterdir() if path.is_dir()):
        target = old / package.name
        if target.exists():
            shutil.rmtree(target)
        package.rename(target)


if __name__ == "__main__":
    sys.exit(main())
