"""`make image` and the image's recipe, without building: tool, base, confinement, what is copied, what is listed."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import image
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy/image/Dockerfile").read_text(encoding="utf-8")
STATUS = """\
Package: tar
Status: install ok installed
Version: 1.34+dfsg-1.2+deb12u1

Package: gone
Status: deinstall ok config-files
Version: 1
"""
ALL = (1 << 41) - 1


def _sbom():
    spec = importlib.util.spec_from_file_location("image_sbom", ROOT / "deploy/image/sbom.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(
        spec
    )  # its dataclass looks for it there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("capabilities", "user", "confined"),
    [(ALL, 0, False), (ALL & ~image.MAY_RAISE_LIMITS, 0, True), (0, 1000, False)],
)
def test_only_root_who_may_not_raise_limits_needs_settings(
    capabilities: int, user: int, confined: bool
) -> None:
    """Elsewhere podman and buildah work as they are, and their images are where the user looks for them."""
    assert image.is_confined(capabilities, user) is confined


def test_storage_has_one_path_however_it_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Podman refuses a storage whose path is another than at its first use, so that of a link is its target's."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir()
    link.symlink_to(target)
    monkeypatch.setattr(image, "confined_here", lambda: True)
    monkeypatch.setattr(image, "CONTAINERS", link)
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    given = image.container_environment()
    assert given["CONTAINERS_STORAGE_CONF"] == str(target / "storage.conf")
    assert str(link) not in (target / "storage.conf").read_text()


@pytest.mark.parametrize("base", ["python:3.11-slim-bookworm", "registry.example/python:3.11"])
def test_a_base_without_a_digest_is_refused(base: str) -> None:
    """A tag means another image tomorrow."""
    with pytest.raises(image.CannotBuild, match="give its digest"):
        image.check_base(base)


@pytest.mark.parametrize("base", [f"python:3.11@sha256:{'0' * 64}", image.OWN_BASE])
def test_a_base_with_a_digest_or_made_here_is_taken(base: str) -> None:
    """Both are one image."""
    image.check_base(base)


@pytest.mark.parametrize("tool", image.TOOLS)
def test_every_tool_builds_the_same_recipe(tool: str) -> None:
    """With the same arguments; where it is confined, without networks and limits of its own."""
    command = image.build_command(tool, "b", "zerodha", "t", confined=True)
    assert command[:2] == [tool, "bud" if tool == "buildah" else "build"]
    assert {"BASE=b", "REQUIREMENTS=zerodha", "t", "deploy/image/Dockerfile"} <= {*command}
    assert ("chroot" in command) is (tool != "docker")
    assert "chroot" not in image.build_command(tool, "b", "runtime", "t", confined=False)


def test_where_no_tool_is_there_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line."""
    monkeypatch.setattr(image.shutil, "which", lambda _: None)
    with pytest.raises(image.CannotBuild, match="docker, podman or buildah"):
        image.find_tool()


def test_what_is_copied_is_not_ignored() -> None:
    """.dockerignore leaves everything out but what the recipe copies, and no key or setting gets in."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    copied = [
        part
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, flags=re.MULTILINE)
        for part in line.replace("${REQUIREMENTS}", "runtime").split()
    ]
    assert copied
    for part in copied:
        assert (ROOT / part).exists(), part
        assert any(Path(part).match(pattern) or part == pattern for pattern in let_in), part
    assert {"*", "**/.env*", "**/*.pem", "**/*.key"} <= {*lines}


def test_the_recipe_installs_locks_and_runs_as_nobody_in_particular() -> None:
    """A base without default, hashes for everything from a registry, user 10001 at the end."""
    assert re.search(r"^ARG BASE$", DOCKERFILE, flags=re.MULTILINE)
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert len(installs) == 3
    assert all("--require-hashes" in one or "--no-deps dist/" in one for one in installs)
    assert re.findall(r"^USER (.*)$", DOCKERFILE, flags=re.MULTILINE) == ["10001:10001"]
    build = (ROOT / "requirements/build.txt").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {*project["build-system"]["requires"]} <= {*re.findall(r"^\S+==\S+", build, flags=re.MULTILINE)}


def test_the_list_of_contents_has_what_is_installed_and_no_more() -> None:
    """Debian's packages and Python's, each with version, licence and an address that tools read."""
    sbom = _sbom()
    (tar,) = sbom.of_debian(STATUS)
    assert tar.as_cyclonedx()["purl"] == "pkg:deb/debian/tar@1.34%2Bdfsg-1.2%2Bdeb12u1"
    assert tar.licence == "see /usr/share/doc/tar/copyright"
    python = {one.name: one for one in sbom.of_python()}
    assert python["grpcio"].licence.startswith("Apache")
    assert python["pyjwt"].purl.startswith("pkg:pypi/pyjwt@2")
    named = [name for name, one in python.items() if one.licence != "not named by its package"]
    assert len(named) > len(python) * 0.9
