"""Where settings come from, and what to say when they are wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import BaseModel, ValidationError

from alphapanda.settings import PREFIX, Settings

OWN_VARIABLES = frozenset({f"{PREFIX}CONFIG"})
"""Variables of ours that are not settings: the TOML file's path."""


class SettingsInvalid(Exception):
    """Settings that can't be used; one line for each thing wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


def load_settings(
    environ: Mapping[str, str], *, config: Path | None = None, dotenv: Path | None = None, **overrides: Any
) -> Settings:
    """The settings of the environment over a `.env` file over a TOML file.

    Args:
        environ: the environment.
        config: the TOML file; without it the file that ALPHAPANDA_CONFIG names, or none.
        dotenv: a `.env` file, read where it exists.
        overrides: sections and names given on the command line, which win.

    Raises:
        SettingsInvalid: an unknown name, a value that doesn't fit, a file that can't be read.
    """
    variables = dict(_prefixed(_dotenv(dotenv))) | dict(_prefixed(environ))
    path = config or (Path(variables[f"{PREFIX}CONFIG"]) if f"{PREFIX}CONFIG" in variables else None)
    tree = _toml(path) if path else {}
    names = dict(setting_names())
    problems = []
    origins: dict[tuple[str, ...], str] = {}
    for variable, value in variables.items():
        if variable in OWN_VARIABLES:
            continue
        if variable.upper() not in names:
            problems.append(_unknown(variable, names))
            continue
        where = names[variable.upper()]
        origins[where] = variable
        _set(tree, where, _parsed(where, value))
    for section, value in overrides.items():
        for name, single in value.items() if isinstance(value, Mapping) else ((None, value),):
            _set(tree, (section,) if name is None else (section, name), single)
    try:
        settings = Settings(**tree)
    except ValidationError as error:
        raise SettingsInvalid([*problems, *_lines(error, names, origins)]) from None
    if problems:
        raise SettingsInvalid(problems)
    return settings


def setting_names() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every setting: its environment variable and its place."""
    for section, field in Settings.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            for name in inner.model_fields:
                yield f"{PREFIX}{section}__{name}".upper(), (section, name)
        else:
            yield f"{PREFIX}{section}".upper(), (section,)


def _dotenv(path: Path | None) -> Mapping[str, str]:
    if path is None or not path.is_file():
        return {}
    return {name: value for name, value in dotenv_values(path).items() if value is not None}


def _prefixed(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in variables.items() if name.upper().startswith(PREFIX))


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid([f"settings file {path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid([f"settings file {path}: {error}"]) from None


def _parsed(where: tuple[str, ...], value: str) -> Any:
    """A list comes as names with commas between; everything else pydantic reads from text."""
    if where == ("active_brokers",):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


def _set(tree: dict[str, Any], where: tuple[str, ...], value: Any) -> None:
    *path, last = where
    for step in path:
        tree = tree.setdefault(step, {})
    tree[last] = value


def _unknown(name: str, names: Mapping[str, tuple[str, ...]]) -> str:
    near = get_close_matches(name.upper(), names, n=1)
    return f"unknown setting {name}" + (f"; did you mean {near[0]}?" if near else "")


def _lines(
    error: ValidationError, names: Mapping[str, tuple[str, ...]], origins: Mapping[tuple[str, ...], str]
) -> Iterator[str]:
    dotted = {".".join(place): variable for variable, place in names.items()}
    sections = {name: name for name in Settings.model_fields}
    for problem in error.errors():
        place = tuple(str(step) for step in problem["loc"])
        name = origins.get(place[:2]) or origins.get(place[:1]) or ".".join(place)
        if problem["type"] == "extra_forbidden":
            near = get_close_matches(".".join(place), [*dotted, *sections], n=1)
            yield f"unknown setting {name}" + (f"; did you mean {near[0]}?" if near else "")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            secret = place[-1:] == ("url",)
            shown = "" if secret or isinstance(problem["input"], dict) else f" {problem['input']!r}"
            yield f"setting {name}:{shown} is not allowed; {message}" if name else message
