"""Settings that have new names: the old ones are taken for one release, and it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from alphapanda.settings.section import PREFIX

Place = tuple[str, ...]

RENAMED: Final[Mapping[Place, Place]] = {
    ("reconnection", name): ("retry", name) for name in ("initial_seconds", "max_seconds", "redis_attempts")
}
"""The new place of each old one."""


def variable_of(place: Place) -> str:
    """The environment variable of a setting: "ALPHAPANDA_RETRY__MAX_SECONDS"."""
    return f"{PREFIX}{'__'.join(place)}".upper()


def new_variables(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields old and new name of each variable that has an old name and whose new one isn't there, too."""
    given = {variable.upper(): variable for variable in variables}
    for old, new in RENAMED.items():
        if variable_of(old) in given and variable_of(new) not in given:
            yield given[variable_of(old)], variable_of(new)


def take_renamed(tree: dict[str, Any]) -> Iterator[tuple[Place, Place]]:
    """Moves what a TOML file sets by an old name to the new one, unless that is there; yields both places."""
    for old, new in RENAMED.items():
        section = tree.get(old[0])
        if not isinstance(section, dict) or old[1] not in section:
            continue
        target = tree.setdefault(new[0], {})
        if isinstance(target, dict) and new[1] not in target:
            target[new[1]] = section.pop(old[1])
            yield old, new
