"""`make image`: builds deploy/image/Dockerfile with docker, podman or buildah, and writes SBOM and licence list to dist/.

The base is what BASE says, pinned by digest; without one, a Debian with Python, made by mmdebstrap from this machine's
own package sources, for which no image registry is needed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
MADE: Final = ROOT / ".tools/image"
CONTAINERS: Final = ROOT / ".tools/containers"
SUITE: Final = "bookworm"
OWN_BASE: Final = f"localhost/alphapanda-base:{SUITE}"
SOURCES: Final = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
CERTIFICATES: Final = Path("/etc/ssl/certs")
TOOLS: Final = ("docker", "podman", "buildah")
LISTS: Final = ("alphapanda.cdx.json", "licences.txt")
MAY_RAISE_LIMITS: Final = 1 << 24
"""CAP_SYS_RESOURCE. Without it even root can't give containers the limits that podman gives them."""

CONTAINERS_CONF: Final = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""
STORAGE_CONF: Final = """\
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""


class CannotBuild(Exception):
    """Something is missing; the message says what to do."""


def is_confined(capabilities: int, user: int) -> bool:
    """Whether this is root without the right to raise limits, as in a container, where containers need settings.

    Args:
        capabilities: effective ones, as bits.
        user: effective id.
    """
    return user == 0 and not capabilities & MAY_RAISE_LIMITS


def confined_here() -> bool:
    """The same, of this process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("CapEff:"))
    return is_confined(int(line.split()[1], 16), os.geteuid())


def container_environment() -> dict[str, str]:
    """The environment for podman and buildah: this process's own, and settings in .tools where it is confined."""
    if not confined_here() or "CONTAINERS_CONF" in os.environ:
        return dict(os.environ)
    CONTAINERS.mkdir(parents=True, exist_ok=True)
    folder = (
        CONTAINERS.resolve()
    )  # podman remembers where its storage is: by one path, also where several lead to it
    settings, storage = folder / "containers.conf", folder / "storage.conf"
    settings.write_text(CONTAINERS_CONF, encoding="utf-8")
    storage.write_text(STORAGE_CONF.format(folder=folder), encoding="utf-8")
    return {
        **os.environ,
        "CONTAINERS_CONF": str(settings),
        "CONTAINERS_STORAGE_CONF": str(storage),
    }


def find_tool() -> str:
    """The first of docker (where its daemon answers), podman, buildah.

    Raises:
        CannotBuild: there is none.
    """
    for tool in TOOLS:
        if shutil.which(tool) and (tool != "docker" or _answers("docker", "info")):
            return tool
    raise CannotBuild(
        "an image needs docker, podman or buildah, and none is here: apt-get install podman runc"
    )


def _answers(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def check_base(base: str) -> None:
    """Requires a base of which everybody gets the same.

    Raises:
        CannotBuild: it is a tag of a registry, which means another image tomorrow.
    """
    if "@sha256:" not in base and not base.startswith("localhost/"):
        raise CannotBuild(
            f"BASE={base} may be another image tomorrow: give its digest, as {base}@sha256:…"
            f" (`docker buildx imagetools inspect {base}` or `skopeo inspect docker://{base}` shows it)"
        )


def build_command(tool: str, base: str, requirements: str, tag: str, *, confined: bool) -> list[str]:
    """The command that builds, run in the repository's folder."""
    command = [
        tool,
        "bud" if tool == "buildah" else "build",
        "--file",
        "deploy/image/Dockerfile",
        "--tag",
        tag,
    ]
    command += ["--build-arg", f"BASE={base}", "--build-arg", f"REQUIREMENTS={requirements}"]
    if tool != "docker":
        command += ["--layers=false"]
    if tool != "docker" and confined:
        command += ["--isolation", "chroot", "--network", "host"]
        command += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        if CERTIFICATES.is_dir():  # this machine may trust an authority of its own
            command += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    return [*command, "."]


def base_command(tar: Path, sources: Path) -> list[str]:
    """The command that makes a Debian with Python: no recommended packages, no manuals, but licences."""
    exclude = ("man", "locale", "doc", "info")
    options = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in exclude]
    return [
        "mmdebstrap",
        "--variant=minbase",
        "--include=python3,python3-venv,ca-certificates",
        *options,
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        SUITE,
        str(tar),
        str(sources),
    ]


def import_commands(tool: str, tar: Path) -> Sequence[Sequence[str]]:
    """The commands that make an image of a tar file with a whole system in it."""
    if tool != "buildah":
        return ([tool, "import", str(tar), OWN_BASE],)
    name = "alphapanda-base"
    return (
        ["buildah", "from", "--name", name, "scratch"],
        ["buildah", "add", "--quiet", name, str(tar), "/"],
        ["buildah", "commit", "--quiet", "--rm", name, OWN_BASE],
    )


def own_base(tool: str, environment: Mapping[str, str]) -> str:
    """The base without a registry; made once, and again where .tools/image is removed.

    Raises:
        CannotBuild: no mmdebstrap, or no Debian.
    """
    listed = {"docker": ("images", "-q"), "podman": ("images", "-q"), "buildah": ("images", "-q")}[tool]
    known = subprocess.run(
        [tool, *listed, OWN_BASE], env=environment, capture_output=True, text=True, check=False
    )
    if known.returncode == 0 and known.stdout.strip():
        return OWN_BASE
    tar = MADE / f"base-{SUITE}.tar"
    if not tar.is_file():
        sources = next((path for path in SOURCES if path.is_file() and SUITE in path.read_text()), None)
        if shutil.which("mmdebstrap") is None or sources is None:
            raise CannotBuild(
                "without a registry the base is made by mmdebstrap on Debian bookworm (apt-get install mmdebstrap);"
                " elsewhere give one: make image BASE=python:3.11-slim-bookworm@sha256:…"
            )
        MADE.mkdir(parents=True, exist_ok=True)
        unfinished = tar.with_suffix(".unfinished.tar")
        subprocess.run(base_command(unfinished, sources), check=True)
        unfinished.rename(tar)
    for command in import_commands(tool, tar):
        subprocess.run(command, env=environment, check=True)
    return OWN_BASE


def write_lists(tool: str, tag: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Writes the SBOM and the licence list that the image carries."""
    folder.mkdir(exist_ok=True)
    before, run = [], [tool, "run", "--rm", "--network", "none", "--entrypoint", "cat", tag]
    after: list[list[str]] = []
    if tool == "buildah":
        name = "alphapanda-lists"
        before, run = [["buildah", "from", "--name", name, tag]], ["buildah", "run", "--isolation", "chroot"]
        run += [name, "cat"]
        after = [["buildah", "rm", name]]
    for command in before:
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    for name in LISTS:
        path = f"/opt/alphapanda/share/{name}"
        shown = subprocess.run([*run, path], env=environment, check=True, stdout=subprocess.PIPE)
        (folder / name).write_bytes(shown.stdout)
    for command in after:
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def size_of(tool: str, tag: str, environment: Mapping[str, str]) -> str:
    """How big an image is, as its tool says it."""
    command = [tool, "images", "--format", "{{.Size}}", tag]
    shown = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return shown.stdout.strip()


def main() -> int:
    """Builds; returns 1 where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="", help="image to build on; without it one is made here")
    parser.add_argument("--requirements", choices=["runtime", "zerodha"], default="runtime")
    parser.add_argument("--tag", required=True)
    arguments = parser.parse_args()
    try:
        tool = find_tool()
        if arguments.base:
            check_base(arguments.base)
        environment = dict(os.environ) if tool == "docker" else container_environment()
        base = arguments.base or own_base(tool, environment)
    except CannotBuild as error:
        sys.stderr.write(f"{error}\n")
        return 1
    command = build_command(tool, base, arguments.requirements, arguments.tag, confined=confined_here())
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    write_lists(tool, arguments.tag, ROOT / "dist", environment)
    whole, below = size_of(tool, arguments.tag, environment), size_of(tool, base, environment)
    print(f"{arguments.tag}: {whole}, its base {below}; {' and '.join(f'dist/{name}' for name in LISTS)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
