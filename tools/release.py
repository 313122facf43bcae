"""`make release VERSION=…`: everything that a version consists of, in dist/release-VERSION, with checksums and notes.

Wheel and source of the platform, the contract as a descriptor set and as files, packages of the clients, recipe and sources of
the image, manifests. What needs a tool says so; nothing is uploaded. The same commit gives the same bytes, but for Java's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
BIN: Final = Path(sys.executable).parent
VERSION: Final = re.compile(r"\d+\.\d+\.\d+(rc\d+)?")
SUMS: Final = "SHA256SUMS"
DEPLOY: Final = "org.apache.maven.plugins:maven-deploy-plugin:2.7:deploy"

# Where a version is written: path from the repository, and the pattern that its value stands in.
PLACES: Final[Mapping[str, str]] = {
    "services/alphapanda/__init__.py": r'__version__ = "([^"]+)"',
    "clients/python/pyproject.toml": r'(?m)^version = "([^"]+)"',
    "clients/typescript/package.json": r'"version": "([^"]+)"',
    "gen/typescript/package.json": r'"version": "([^"]+)"',
    "clients/java/pom.xml": r"<artifactId>alphapanda-java</artifactId>\s*<version>([^<]+)<",
    "clients/java/contract/pom.xml": r"<artifactId>alphapanda-java</artifactId>\s*<version>([^<]+)<",
    "clients/java/client/pom.xml": r"<artifactId>alphapanda-java</artifactId>\s*<version>([^<]+)<",
    "clients/java/examples/pom.xml": r"<artifactId>alphapanda-java</artifactId>\s*<version>([^<]+)<",
    "deploy/compose/compose.yaml": r"localhost/alphapanda:([\w.]+)",
    "deploy/k8s/overlays/dev/kustomization.yaml": r"newTag: (\S+)",
}


class CannotRelease(Exception):
    """Something is missing or doesn't agree; the message says what to do."""


def check_version(version: str, texts: Mapping[str, str]) -> None:
    """Requires that a version is one, and that every place says it.

    Args:
        version: such as "0.2.0" or "0.2.0rc1".
        texts: content by path of PLACES.

    Raises:
        CannotRelease: it names each place that says another one.
    """
    if not VERSION.fullmatch(version):
        raise CannotRelease(f"VERSION={version} is no version: say it as 0.2.0 or 0.2.0rc1")
    others = []
    for path, pattern in PLACES.items():
        found = re.search(pattern, texts[path])
        said = found.group(1) if found else "nothing"
        if said != version:
            others.append(f"{path} says {said}")
    if others:
        raise CannotRelease(f"{version} is not everywhere ({'; '.join(others)}): write it there, and commit")


def notes_of(version: str, changelog: str) -> str:
    """A version's section of the changelog.

    Raises:
        CannotRelease: it has none, or nothing stands in it.
    """
    parts = re.split(r"(?m)^## ", changelog)[1:]
    for part in parts:
        title, _, text = part.partition("\n")
        if title.strip() == version and text.strip():
            return f"# Alpha Panda {version}\n\n{text.strip()}\n"
    raise CannotRelease(
        f"CHANGELOG.md has no section `## {version}` with text: write what a user will notice"
    )


def sums_of(files: Mapping[str, bytes]) -> str:
    """Checksums in the form that `sha256sum --check` reads, by name."""
    return "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())
    )


class Release:
    """Makes the files of a version.

    Args:
        version: the version.
        to: folder for them; what was there is gone.
    """

    def __init__(self, version: str, to: Path) -> None:
        self.version = version
        self._to = to
        self._commit = self._told("git", "rev-parse", "HEAD")
        # Wheels, sources and archives carry the commit's time, so that they are the same whoever makes them.
        self._environment = {
            **os.environ,
            "SOURCE_DATE_EPOCH": self._told("git", "show", "--no-patch", "--format=%ct"),
        }

    @property
    def parts(self) -> Mapping[str, Callable[[], None]]:
        """What can be made, by name."""
        return {
            "python": self.python,
            "contract": self.contract,
            "typescript": self.typescript,
            "java": self.java,
            "go": self.go,
            "image": self.image,
        }

    def make(self, parts: Sequence[str]) -> None:
        """Makes these parts, notes and checksums."""
        shutil.rmtree(self._to, ignore_errors=True)
        self._to.mkdir(parents=True)
        for part in parts:
            self.parts[part]()
        notes = notes_of(self.version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
        (self._to / "NOTES.md").write_text(f"{notes}\nCommit {self._commit}.\n", encoding="utf-8")
        files = {file.name: file.read_bytes() for file in self._to.iterdir()}
        (self._to / SUMS).write_text(sums_of(files), encoding="utf-8")

    def python(self) -> None:
        """Wheel and sources of the platform, wheel of its client (which is made of the contract's code beside it)."""
        build = (str(BIN / "uv"), "build", "--quiet", "--no-build-isolation", "--python", sys.executable)
        self._run(*build, "--out-dir", str(self._to), ".")
        self._run(*build, "--out-dir", str(self._to), "--wheel", "clients/python")
        (self._to / ".gitignore").unlink(missing_ok=True)

    def contract(self) -> None:
        """The contract as a descriptor set, with what it imports, and as files."""
        made = self._to / f"alphapanda-contract-{self.version}.binpb"
        self._run(str(BIN / "buf"), "build", "--path", "protos/panda", "--output", str(made))
        self._archive("contract", "protos")

    def typescript(self) -> None:
        """Npm packages of contract and client."""
        self._require("npm", "TypeScript's packages need Node 20 or later (https://nodejs.org)")
        self._run("make", "--no-print-directory", "clients/typescript/node_modules/.installed")
        with tempfile.TemporaryDirectory() as folder:
            contract, client = Path(folder, "contract"), Path(folder, "client")
            shutil.copytree(ROOT / "gen/typescript", contract, ignore=shutil.ignore_patterns("node_modules"))
            client.mkdir()
            self._run(
                "npx",
                "--no-install",
                "tsc",
                "--outDir",
                str(client / "dist"),
                cwd=ROOT / "clients/typescript",
            )
            for test in (client / "dist").glob("*.test.*"):
                test.unlink()
            package = json.loads((ROOT / "clients/typescript/package.json").read_text(encoding="utf-8"))
            # In the repository the contract is a folder beside the client; released it is a package of the same version.
            package["dependencies"]["@alphapanda/contract"] = self.version
            for name in ("scripts", "devDependencies"):
                package.pop(name)
            (client / "package.json").write_text(json.dumps(package, indent=2) + "\n", encoding="utf-8")
            for made in (contract, client):
                self._run("npm", "pack", "--silent", "--pack-destination", str(self._to), cwd=made)

    def java(self) -> None:
        """A Maven repository with contract and client."""
        self._require("mvn", "Java's packages need Maven (https://maven.apache.org) and a JDK, 17 or later")
        with tempfile.TemporaryDirectory() as folder:
            to = f"-DaltDeploymentRepository=release::default::file://{folder}/maven"
            self._run(
                "mvn", "--batch-mode", "--quiet", "-DskipTests", "--projects", "contract,client", "--also-make",
                to, "package", DEPLOY, cwd=ROOT / "clients/java",
            )  # fmt: skip
            name = self._to / f"alphapanda-maven-{self.version}.tar.gz"
            self._run(
                "tar", "--create", "--gzip", "--sort=name", f"--file={name}", f"--directory={folder}", "maven"
            )

    def go(self) -> None:
        """Sources of contract and client; other modules take them by this version's tag."""
        self._archive("go", "gen/go", "clients/go")

    def image(self) -> None:
        """What `docker build` takes, and what starts the image: compose, Kubernetes, rules and dashboards."""
        self._archive(
            "image",
            ".dockerignore",
            "deploy/image",
            "gen/python",
            "pyproject.toml",
            "requirements",
            "services",
        )
        self._archive("deploy", "deploy")

    def _archive(self, what: str, *paths: str) -> None:
        """Packs files of the commit."""
        name = f"alphapanda-{what}-{self.version}"
        self._run(
            "git", "archive", "--format=tar.gz", f"--prefix={name}/", f"--output={self._to / name}.tar.gz",
            "HEAD", *paths,
        )  # fmt: skip

    def _require(self, tool: str, otherwise: str) -> None:
        if shutil.which(tool) is None:
            raise CannotRelease(f"{otherwise}; or leave them out with ARGS=--parts")

    def _run(self, *command: str, cwd: Path = ROOT) -> None:
        done = subprocess.run(
            command, cwd=cwd, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise CannotRelease(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def _told(self, *command: str) -> str:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def require_committed(status: str) -> None:
    """Requires that everything is committed: archives are of the commit, wheels of the folder.

    Args:
        status: what `git status --porcelain` says.

    Raises:
        CannotRelease: something isn't.
    """
    if changed := [line[3:] for line in status.splitlines()]:
        some = ", ".join(changed[:3]) + (" …" if changed[3:] else "")
        raise CannotRelease(f"a release is of a commit, and these are not committed: {some}")


def main() -> int:
    """Makes a release; returns 1 where something is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version", help="such as 0.2.0; every package says it already")
    parts = ("python", "contract", "typescript", "java", "go", "image")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="only these")
    parser.add_argument("--to", type=Path, help="folder to make  [default: dist/release-VERSION]")
    arguments = parser.parse_args()
    try:
        texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in PLACES}
        check_version(arguments.version, texts)
        notes_of(arguments.version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
        status = ("git", "status", "--porcelain")
        require_committed(subprocess.run(status, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
        to = (arguments.to or ROOT / f"dist/release-{arguments.version}").absolute()
        Release(arguments.version, to).make(arguments.parts)
    except CannotRelease as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for file in sorted(to.iterdir()):
        print(f"{file.stat().st_size:>12,}  {file.name}")
    print(f"in {to}; tag the commit v{arguments.version} and publish them")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
