"""Lists every setting with its names, default and allowed values, and generates `.env.example`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from inspect import cleandoc
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from alphapanda.settings.model import Settings
from alphapanda.settings.section import PREFIX

HEAD = """\
# Every setting of Alpha Panda with its default. Made by `alphapanda settings --env-example`; don't edit it.
#
# Copy it to .env and take the # away from what you change. The environment wins over .env, and that over a TOML
# file (--config FILE). `alphapanda settings` shows what holds and where it comes from.
"""

_WORDS: Mapping[Any, str] = {bool: "true or false", time: "HH:MM or HH:MM:SS", Path: "a path"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        place: section and name, such as ("database", "url").
        description: what the setting does.
        allowed: the allowed values, in words; empty where any text is allowed.
        default: value where no source sets it.
        secret: whether its value is never shown.
    """

    place: tuple[str, ...]
    description: str
    allowed: str
    default: Any
    secret: bool

    @property
    def name(self) -> str:
        """Name in TOML files and messages: "database.url"."""
        return ".".join(self.place)

    @property
    def variable(self) -> str:
        """Name of the environment variable: "ALPHAPANDA_DATABASE__URL"."""
        return f"{PREFIX}{'__'.join(self.place)}".upper()


def catalogue() -> Iterator[Setting]:
    """Yields every setting, in the order of Settings."""
    yield from _settings_of(Settings, (), None)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Returns the section that a field holds; None for a single setting."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def value_text(value: Any) -> str:
    """Formats a value as an environment variable."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, time):
        return f"{value:%H:%M:%S}"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def env_example() -> str:
    """Returns the text of `.env.example`."""
    lines = [HEAD]
    sections: list[tuple[str, ...]] = []
    for setting in catalogue():
        section = setting.place[:-1]
        if section and section not in sections:
            sections.append(section)
            lines += [f"\n# --- {'.'.join(section)}: {_purpose(section)}\n"]
        allowed = f" [{setting.allowed}]" if setting.allowed else ""
        file = f"; or {setting.variable}_FILE, a file that holds it" if setting.secret else ""
        lines += [
            f"# {setting.description}{allowed}{file}",
            f"# {setting.variable}={value_text(setting.default)}",
        ]
    return "\n".join(lines) + "\n"


def _settings_of(model: type[BaseModel], place: tuple[str, ...], defaults: Any) -> Iterator[Setting]:
    """Single settings first, then the sections."""
    single = [item for item in model.model_fields.items() if section_of(item[1].annotation) is None]
    for name, field in single:
        default = field.default if defaults is None else getattr(defaults, name)
        yield Setting((*place, name), _description(field), _allowed(field), default, not field.repr)
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is not None:
            inner = field.default if defaults is None else getattr(defaults, name)
            yield from _settings_of(section, (*place, name), inner)


def _purpose(section: tuple[str, ...]) -> str:
    model: type[BaseModel] = Settings
    for name in section:
        inner = section_of(model.model_fields[name].annotation)
        if inner is None:
            raise LookupError(f"{name} is no section")
        model = inner
    return " ".join(cleandoc(model.__doc__ or "").split("\n\n")[0].split())


def _description(field: FieldInfo) -> str:
    """Returns the field's description, or that of the alias inside `BatchSize | None`."""
    _, marks = _bare(field.annotation, [])
    return field.description or next(
        (one.description for one in marks if isinstance(one, FieldInfo) and one.description), ""
    )


def _allowed(field: FieldInfo) -> str:
    kind, marks = _bare(field.annotation, field.metadata)
    limits = [limit for mark in marks for limit in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return "names with commas between"
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in {int, float, Decimal}:
        return ("a whole number" if kind is int else "a number") + _bounds(limits)
    patterns = [one.pattern for one in limits if getattr(one, "pattern", None)]
    if patterns:
        return f"text of the form {patterns[0]}"
    return "not empty" if any(isinstance(one, MinLen) for one in limits) else ""


def _bare(kind: Any, marks: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """Returns a field's type without None, and its annotations, also those inside `Rupees | None`."""
    if get_origin(kind) in {Union, UnionType}:
        return _bare(next(one for one in get_args(kind) if one is not type(None)), marks)
    if get_origin(kind) is not Annotated:
        return kind, marks
    inner, *more = get_args(kind)
    return _bare(inner, [*marks, *more])


def _bounds(limits: Sequence[Any]) -> str:
    words = []
    for bound in limits:
        match bound:
            case Ge():
                words.append(f" from {bound.ge}")
            case Gt():
                words.append(f" above {bound.gt}")
            case Le():
                words.append(f" to {bound.le}" if words else f" up to {bound.le}")
            case Lt():
                words.append(f" below {bound.lt}")
            case _:
                continue
    return "".join(words)
