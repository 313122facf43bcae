"""The contract as another repository takes it: exported or vendored, without anything else of this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUF = str(Path(sys.executable).with_name("buf"))


def protoc(out: Path, *folders: Path) -> None:
    out.mkdir()
    includes = [f"-I{folder}" for folder in folders]
    ours = sorted(str(path.relative_to(folders[0])) for path in folders[0].glob("panda/**/*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", *includes, f"--python_out={out}", *ours]
    subprocess.run(command, check=True)


def test_an_export_is_whole_and_breaks_nothing_accepted(tmp_path: Path) -> None:
    """`buf export` has all that plain protoc needs, and the export holds against the accepted contract."""
    vendored = tmp_path / "vendor"
    subprocess.run([BUF, "export", ".", "--path", "protos/panda", "-o", vendored], cwd=ROOT, check=True)
    protoc(tmp_path / "out", vendored)
    assert (tmp_path / "out/panda/trading/v1/trading_pb2.py").exists()
    against = ["--against", "protos/baseline.binpb", "--exclude-imports"]
    subprocess.run([BUF, "breaking", vendored, *against], cwd=ROOT, check=True)


def test_the_two_folders_are_enough_for_protoc(tmp_path: Path) -> None:
    """Vendored without buf, `protos` and `protos/third_party` compile."""
    protoc(tmp_path / "out", ROOT / "protos", ROOT / "protos/third_party")
    assert (tmp_path / "out/panda/risk/v1/risk_pb2.py").exists()
