"""Reads secrets from files: NAME_FILE, or name_file in a TOML file, holds the path of a file with the secret.

That is how Docker and Kubernetes hand over secrets: the environment of a process shows a path, and not what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from alphapanda.settings.catalogue import Setting

SUFFIX: Final = "_FILE"
LONGEST: Final = 65_536
"""Bytes of a secret."""


class SecretUnreadable(Exception):
    """A secret can't be read from its file; the message says why, without what is in it."""


def of_file_variable(variable: str, known: Mapping[str, Setting]) -> Setting | None:
    """Returns the secret whose file a variable names, such as ALPHAPANDA_DATABASE__URL_FILE; None where it names none."""
    name = variable.upper()
    setting = known.get(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else None
    return setting if setting is not None and setting.secret else None


def taken_from(
    tree: Mapping[str, Any], settings: Mapping[str, Setting]
) -> Iterator[tuple[Setting, str, Any]]:
    """Takes `name_file` of each secret out of a TOML file's tree; yields secret, name and value."""
    for setting in settings.values():
        *path, last = setting.place
        inner: Any = tree
        for step in path:
            inner = inner.get(step) if isinstance(inner, Mapping) else None
        name = f"{last}{SUFFIX.lower()}"
        if setting.secret and isinstance(inner, dict) and name in inner:
            yield setting, ".".join((*path, name)), inner.pop(name)


def secret_of(path: str) -> str:
    """Reads a secret; newlines at the end don't belong to it, nor does the mark that some editors begin a file with.

    Raises:
        SecretUnreadable: there is no such file, or it holds no text.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            raw = file.read(LONGEST + 1)
    except (OSError, ValueError) as error:
        raise SecretUnreadable(getattr(error, "strerror", None) or "is no path") from None
    if len(raw) > LONGEST:
        raise SecretUnreadable(f"holds more than {LONGEST} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SecretUnreadable("holds no text") from None
    secret = text.rstrip("\r\n")
    if not secret:
        raise SecretUnreadable("is empty")
    return secret
