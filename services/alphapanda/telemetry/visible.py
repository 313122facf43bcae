"""Makes a text harmless that a terminal shows: callers choose names and reasons, and a terminal obeys control characters.

What is obeyed could clear the screen, forge lines, set the window's title or turn the direction of writing.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any, Final

REPLACED: Final = "\N{REPLACEMENT CHARACTER}"
_OBEYED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The text with each character replaced that a terminal would obey; line feeds and tabs stay."""
    return text if text.isprintable() else _OBEYED.sub(REPLACED, text)


def on_one_line(text: str) -> str:
    """The text on one line, so that a part of it never passes for a line of its own."""
    return visible(" ".join(text.splitlines()))


def visible_values(
    _logger: Any, _method: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Makes the texts of a log line harmless, for lines that people read on a terminal."""
    for key, value in event_dict.items():
        if isinstance(value, str):
            event_dict[key] = visible(value)
    return event_dict
