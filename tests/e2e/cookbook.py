"""Reads clients/COOKBOOK.md: its commands, and what the page says that each answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
KEPT = re.compile(r"([A-Z]+)=…(\w+)")
GAP = re.compile(r",?\s*…\s*(?=[\]}])")
EXAMPLE = re.compile(
    r"[-+]?[0-9][0-9.]*|[0-9a-f]{8}-[0-9a-f-]{27}|20\d\d-\d\d-\d\dT[\d:.]+Z|[A-Za-z0-9+/]{20,}==?"
)


@dataclass
class Entry:
    """A command, the lines of its answer, and the fields of it that later commands want, by variable."""

    command: str
    answer: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


def entries(page: str) -> Iterator[tuple[str, list[Entry]]]:
    """The page's headings with the commands below each, in order."""
    for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        found: list[Entry] = []
        for block in BLOCK.findall(part):
            for line in block.splitlines():
                if not line.startswith("$ "):
                    found[-1].answer.append(line)
                elif kept := KEPT.fullmatch(line[2:]):
                    found[-1].kept[kept[1]] = kept[2]
                else:
                    found.append(Entry(line[2:]))
        yield part.partition("\n")[0], found


def disagreement(entry: Entry, said: str) -> str:
    """What of the page's answer isn't so; empty where all is."""
    wanted = "\n".join(entry.answer)
    if wanted.startswith("{"):
        shown = json.loads(GAP.sub("", wanted.partition("\n")[0]).replace("[…]", "[]"))
        start = said.find("{")
        if start != 0:
            return f"answered {said[:400]}"
        return _missing(shown, json.JSONDecoder().raw_decode(said)[0], "")
    at = 0
    for piece in (part.strip() for line in entry.answer for part in line.split("…")):
        if (found := said.find(piece, at)) < 0:
            return f"{piece!r} is not in the answer: {said[:600]}"
        at = found + len(piece)
    return ""


def value_of(answer: Any, name: str) -> str:
    """The first field of that name, at any depth; empty where there is none."""
    if isinstance(answer, dict):
        if isinstance(answer.get(name), str):
            return str(answer[name])
        answer = list(answer.values())
    if isinstance(answer, list):
        return next((found for one in answer if (found := value_of(one, name))), "")
    return ""


def _missing(shown: Any, real: Any, path: str) -> str:
    if isinstance(shown, dict) and isinstance(real, dict):
        if missing := shown.keys() - real.keys():
            return f"{path} lacks {sorted(missing)}: {real!r:.400}"
        return next((said for key in shown if (said := _missing(shown[key], real[key], f"{path}.{key}"))), "")
    if isinstance(shown, list) and isinstance(real, list):
        absent = [item for item in shown if all(_missing(item, one, path) for one in real)]
        return f"{path} has nothing like {absent[0]!r}: {real!r:.600}" if absent else ""
    example = isinstance(shown, str) and (shown == "…" or EXAMPLE.fullmatch(shown)) and not _follows(path)
    example = example or (isinstance(shown, (int, float)) and not isinstance(shown, bool))
    if shown == real or (example and type(shown) is type(real) and real != ""):
        return ""
    return f"{path} is {real!r}, and the page says {shown!r}"


def _follows(path: str) -> bool:
    """Whether it follows from the request, and is compared; other numbers, ids and times are examples."""
    return path.rpartition(".")[2] in {
        "quantity",
        "filled_quantity",
        "held",
        "limit",
        "observed",
        "lot_size",
        "period",
    }
