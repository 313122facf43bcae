"""Broker names. A broker is a validated name, not an enum, so a new broker needs no change here."""

from __future__ import annotations

import re

from alphapanda.domain.errors import InvalidInput

PATTERN = re.compile(r"[a-z][a-z0-9_]{0,31}")


def checked_broker(name: str, field: str = "broker") -> str:
    """Validates a broker's name and returns it.

    Args:
        name: the name.
        field: the field that it came in, for the error.

    Raises:
        InvalidInput: the name isn't 1 to 32 lower-case letters, digits and underscores, beginning with a letter.
    """
    if not PATTERN.fullmatch(name):
        raise InvalidInput(field, name, f"a broker's name matches ^{PATTERN.pattern}$")
    return name
