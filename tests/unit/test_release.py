"""`make release`, without building: versions agree, notes are there, checksums are what sha256sum reads."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import release

import alphapanda

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {path: (ROOT / path).read_text(encoding="utf-8") for path in release.PLACES}
CHANGELOG = """# Changelog

## 0.2.0

- New.

## 0.1.0

"""


def test_every_place_says_the_version() -> None:
    """Whatever is released of this commit has the version of the program."""
    release.check_version(alphapanda.__version__, TEXTS)


@pytest.mark.parametrize("path", release.PLACES)
def test_a_place_with_another_version_is_named(path: str) -> None:
    """Each of them, with what it says."""
    version = re.escape(alphapanda.__version__)
    other = TEXTS | {path: re.sub(version, "9.9.9", TEXTS[path])}
    with pytest.raises(release.CannotRelease, match=f"{re.escape(path)} says 9.9.9"):
        release.check_version(alphapanda.__version__, other)


@pytest.mark.parametrize("version", ["", "v1", "1.0", "1.0.0-beta", "1.0.0; rm"])
def test_what_is_no_version_is_refused(version: str) -> None:
    """In one line that says how to write one."""
    with pytest.raises(release.CannotRelease, match="is no version"):
        release.check_version(version, TEXTS)


def test_notes_are_the_version_s_section() -> None:
    """Its text alone; a version without text can't be released."""
    assert release.notes_of("0.2.0", CHANGELOG) == "# Alpha Panda 0.2.0\n\n- New.\n"
    for version in ("0.1.0", "0.3.0"):
        with pytest.raises(release.CannotRelease, match="has no section"):
            release.notes_of(version, CHANGELOG)


def test_this_version_has_notes() -> None:
    """The changelog is written with the version."""
    release.notes_of(alphapanda.__version__, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def test_checksums_are_sorted_lines() -> None:
    """A digest, two spaces, a name."""
    digest = hashlib.sha256(b"x").hexdigest()
    assert release.sums_of({"b": b"x", "a": b"x"}) == f"{digest}  a\n{digest}  b\n"


def test_what_is_not_committed_is_not_released() -> None:
    """It would be in the wheel and not in the archives."""
    release.require_committed("")
    with pytest.raises(release.CannotRelease, match=r"not committed: README\.md, new$"):
        release.require_committed(" M README.md\n?? new\n")
