"""Broker names. A broker is a checked name, not an enum: a third one needs no change here."""

from __future__ import annotations

import re

from alphapanda.domain.errors import InvalidInput

PATTERN = re.compile(r"[a-z][a-z0-9_]{0,31}")


def checked_broker(name: str, field: str = "broker") -> str:
    """The name itself.

    Raises:
        InvalidInput: it is not lower case letters, digits and underscores, beginning with a letter.
    """
    if not PATTERN.fullmatch(name):
        raise InvalidInput(field, name, f"a broker's name matches ^{PATTERN.pattern}$")
    return name
