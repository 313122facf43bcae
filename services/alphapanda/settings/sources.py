"""Reads settings from their sources, and reports errors."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from operator import attrgetter
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import ValidationError

from alphapanda.settings.catalogue import Setting, catalogue
from alphapanda.settings.consistency import disagreements
from alphapanda.settings.model import Settings
from alphapanda.settings.renamed import new_variables, take_renamed
from alphapanda.settings.secret_files import SecretUnreadable, of_file_variable, secret_of, taken_from
from alphapanda.settings.section import PREFIX
from alphapanda.telemetry.redaction import redacted, remember_secrets

OWN_VARIABLES = frozenset({f"{PREFIX}CONFIG"})
"""Variables of ours that are not settings: the TOML file's path."""

ENVIRONMENT: Final = "environment"
DEFAULT: Final = "default"

Place = tuple[str, ...]


class SettingsInvalid(Exception):
    """The settings are invalid; one line for each error."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class SettingsRead:
    """Settings, and the source of each that isn't a default.

    Attributes:
        settings: all of them.
        sources: by place: "environment", or the file's name.
        notes: what to tell although nothing is wrong, a line each: settings that have a new name.
    """

    settings: Settings
    sources: Mapping[Place, str]
    notes: Sequence[str] = ()


@dataclass(slots=True)
class _Reading:
    """The state of reading: the tree of values, errors, where values came from, and what to tell."""

    tree: dict[str, Any]
    problems: list[str]
    origins: dict[Place, str]
    sources: dict[Place, str]
    notes: list[str]


def load_settings(
    environ: Mapping[str, str], *, config: Path | None = None, dotenv: Path | None = None, **overrides: Any
) -> Settings:
    """Reads the settings: the environment over a `.env` file over a TOML file; secrets also from files (`…_FILE`).

    Args:
        environ: the environment.
        config: the TOML file; None: the file that ALPHAPANDA_CONFIG names, if any.
        dotenv: a `.env` file, read where it exists.
        overrides: sections and names given on the command line, which have priority.

    Raises:
        SettingsInvalid: an unknown name, a value that doesn't fit, a file that can't be read.
    """
    return read_settings(environ, config=config, dotenv=dotenv, **overrides).settings


def read_settings(
    environ: Mapping[str, str], *, config: Path | None = None, dotenv: Path | None = None, **overrides: Any
) -> SettingsRead:
    """Reads the settings as `load_settings` does, and returns the source of each as well."""
    reading = _Reading({}, [], {}, {}, [])
    layers = [(str(dotenv), dict(_prefixed(_dotenv(dotenv, reading.problems))))]
    layers.append((ENVIRONMENT, dict(_prefixed(environ))))
    named = {name: value for _, variables in layers for name, value in variables.items()}
    path = config or (Path(named[f"{PREFIX}CONFIG"]) if f"{PREFIX}CONFIG" in named else None)
    if path is not None:
        reading.tree = _toml(path, reading.problems)
    known = {setting.variable: setting for setting in catalogue()}
    if path is not None:
        for old, new in take_renamed(reading.tree):
            reading.origins[new] = ".".join(old)
            reading.notes.append(_renamed(".".join(old), ".".join(new), str(path)))
        for setting, at, file in taken_from(reading.tree, known):
            _take_secret(reading, setting, at, file, str(path))
        reading.sources |= dict.fromkeys(_places(reading.tree), str(path)) | reading.sources
    for source, variables in layers:
        _take(reading, source, variables, known)
    for section, value in overrides.items():
        for name, single in value.items() if isinstance(value, Mapping) else ((None, value),):
            _set(reading.tree, (section,) if name is None else (section, name), single)
    settings = _validated(reading, known)
    remember_secrets(_secrets(settings, known.values()))
    if reading.problems:
        raise SettingsInvalid(reading.problems)
    return SettingsRead(settings, reading.sources, reading.notes)


def _take(reading: _Reading, source: str, variables: Mapping[str, str], known: Mapping[str, Setting]) -> None:
    given = {variable.upper() for variable in variables}
    renamed = dict(new_variables(variables))
    for variable, value in variables.items():
        if variable in OWN_VARIABLES:
            continue
        if variable in renamed:
            reading.notes.append(_renamed(variable, renamed[variable], source))
        setting = of_file_variable(variable, known)
        if setting is not None:
            if setting.variable in given:
                reading.problems.append(
                    f"{setting.variable} and {variable} are both set in {source}: leave one of them away"
                )
            elif value:
                _take_secret(reading, setting, variable, value, source)
            continue
        setting = known.get(renamed.get(variable, variable).upper())
        if setting is None:
            reading.problems.append(_unknown(variable, known))
            continue
        reading.origins[setting.place] = variable
        reading.sources[setting.place] = source
        _set(reading.tree, setting.place, _parsed(setting, value))


def _take_secret(reading: _Reading, setting: Setting, name: str, file: Any, source: str) -> None:
    """Takes a secret from the file that a source names."""
    if not isinstance(file, str) or not file:
        reading.problems.append(f"setting {name}: {file!r} is not allowed; the path of a file")
        return
    try:
        secret = secret_of(file)
    except SecretUnreadable as error:
        reading.problems.append(f"setting {name}: file {file!r} {error}")
        return
    reading.origins[setting.place] = name
    reading.sources[setting.place] = f"{file} (named by {source})"
    _set(reading.tree, setting.place, secret)


def _secrets(settings: Settings, known: Iterable[Setting]) -> Iterator[str]:
    """The values of the secrets, and the passwords of those that are URLs."""
    for setting in known:
        if not setting.secret:
            continue
        value = attrgetter(setting.name)(settings)
        if "://" not in value:
            yield from (value, *value.split(","))
            continue
        with suppress(ValueError):
            password = urlsplit(value).password or ""
            yield from (password, unquote(password))


def _validated(reading: _Reading, known: Mapping[str, Setting]) -> Settings:
    """Validates the settings. An invalid value is reported and left out, so that the others are checked as well."""
    wrong: set[str] = set()
    settings: Settings | None = None
    while settings is None:
        try:
            settings = Settings(**reading.tree)
        except ValidationError as error:
            reading.problems += _lines(error, known, reading.origins)
            for problem in error.errors():
                place = tuple(str(step) for step in problem["loc"])
                wrong.update(".".join(place[:depth]) for depth in range(1, len(place) + 1))
                if not _forget(reading.tree, place):
                    raise SettingsInvalid(reading.problems) from None
    reading.problems += (found.message for found in disagreements(settings) if wrong.isdisjoint(found.names))
    return settings


def _dotenv(path: Path | None, problems: list[str]) -> Mapping[str, str]:
    if path is None or not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"settings file {path}: {getattr(error, 'strerror', None) or error}")
        return {}
    problems += (
        f"settings file {path}, line {binding.original.line}: is not NAME=value"
        for binding in parse_stream(io.StringIO(text))
        if binding.error
    )
    values = dotenv_values(stream=io.StringIO(text), verbose=False)
    return {name: value for name, value in values.items() if value is not None}


def _prefixed(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in variables.items() if name.upper().startswith(PREFIX))


def _toml(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"settings file {path}: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"settings file {path}: {error}")
    return {}


def _parsed(setting: Setting, value: str) -> Any:
    """Parses lists (names separated by commas) and empty texts (None, where that is the default); pydantic does the rest."""
    if isinstance(setting.default, tuple):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return None if setting.default is None and not value else value


def _places(tree: Mapping[str, Any], above: Place = ()) -> Iterator[Place]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _places(value, (*above, name))
        else:
            yield (*above, name)


def _set(tree: dict[str, Any], where: Place, value: Any) -> None:
    *path, last = where
    for step in path:
        inner = tree.setdefault(step, {})
        if not isinstance(inner, dict):  # a file has a single value where a section belongs: that is reported
            return
        tree = inner
    tree[last] = value


def _forget(tree: dict[str, Any], place: Place) -> bool:
    """Removes the value at the place or above it; returns whether there was one."""
    for depth, step in enumerate(place, start=1):
        inner = tree.get(step)
        if depth == len(place) or not isinstance(inner, dict):
            return tree.pop(step, None) is not None
        tree = inner
    return False


def _renamed(old: str, new: str, source: str) -> str:
    return f"setting {old} in {source} is called {new} now; the old name is taken for one release"


def _unknown(name: str, known: Mapping[str, Setting]) -> str:
    near = get_close_matches(name.upper(), known, n=1)
    return f"unknown setting {name}" + (f"; did you mean {near[0]}?" if near else "")


def _lines(
    error: ValidationError, known: Mapping[str, Setting], origins: Mapping[Place, str]
) -> Iterator[str]:
    settings = {setting.name: setting for setting in known.values()}
    for problem in error.errors():
        place = tuple(str(step) for step in problem["loc"])
        name = next(
            (origins[place[:depth]] for depth in range(len(place), 0, -1) if place[:depth] in origins),
            ".".join(place),
        )
        if problem["type"] == "extra_forbidden":
            near = get_close_matches(".".join(place), [*settings, *Settings.model_fields], n=1)
            yield f"unknown setting {name}" + (f"; did you mean {near[0]}?" if near else "")
            continue
        # A single value where a section belongs may be a secret of the section.
        secret = any(one.secret and one.place[: len(place)] == place for one in settings.values())
        shown = "" if secret or isinstance(problem["input"], dict) else f" {redacted(repr(problem['input']))}"
        yield f"setting {name}:{shown} is not allowed; {problem['msg'].removeprefix('Value error, ')}"
