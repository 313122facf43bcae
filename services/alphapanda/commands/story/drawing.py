"""Shows a story: as a tree with times for a terminal, as nested objects for programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Group, RenderableType
from rich.text import Text

from alphapanda.commands.story.facts import Facts
from alphapanda.commands.story.steps import QUIET, Step, Story
from alphapanda.commands.tables import table
from alphapanda.commands.wording import IST
from alphapanda.domain.ids import trace_id

MILLISECOND: Final = timedelta(milliseconds=1)
SHOWN_IDS: Final = ("signal_id", "order_id", "fill_id", "letter_id")


def picture(story: Story, facts: Facts, link: str) -> RenderableType:
    """The tree: milliseconds since the cause, milliseconds since the step before, and what happened."""
    began = began_at(story)
    made = table(">ms", ">+ms", "what")
    for prefix, step, before in _lines(story.root):
        line = (
            Text(prefix, style=QUIET)
            .append(f"{step.kind:{_width(step)}} ", style="bold")
            .append(step.text, step.style)
        )
        shown = next((step.ids[name] for name in SHOWN_IDS if name in step.ids), "")
        if shown and step.kind != "verdict":
            line.append(f"  {shown}", style=QUIET)
        made.add_row(_ms(began, step.at), Text(_ms(before, step.at), style=QUIET), line)
    lines: list[RenderableType] = [_head(story, began), made]
    if story.others:
        more = f"{story.others} more signals of the same cause: alphapanda trace {story.correlation_id}"
        lines.append(Text(more, style=QUIET))
    lines += [Text(f"not all is known: {why}", style="yellow") for why in facts.missing]
    if link:
        lines.append(Text(f"in Jaeger: {link}"))
    return Group(*lines)


def as_object(story: Story, facts: Facts, asked: str, link: str) -> dict[str, Any]:
    """The story for programs: the tree, and the answers it was made of."""
    began = began_at(story)
    return {
        "asked": asked,
        "trace_id": trace_id(story.correlation_id),
        "correlation_id": story.correlation_id,
        "jaeger": link,
        "took_ms": _number(began, story.root.ended),
        "other_signals": story.others,
        "missing": facts.missing,
        "steps": _object(story.root, began, None),
        "commands": _objects(facts.commands),
        "orders": _objects(facts.orders.values()),
        "verdicts": _objects(facts.verdicts.values()),
        "fills": _objects(facts.fills.values()),
        "ledger_entries": _objects(facts.entries),
        "records": _objects(facts.records),
        "dead_letters": _objects(facts.letters.values()),
    }


def began_at(story: Story) -> datetime | None:
    """Wall time of the story's first step; None where no time is known."""
    return min((step.at for step in story.root.every() if step.at is not None), default=None)


def _head(story: Story, began: datetime | None) -> Text:
    line = Text("trace ").append(trace_id(story.correlation_id), style="bold")
    line.append(f"  correlation id {story.correlation_id}", style=QUIET)
    if began is not None:
        took = _ms(began, story.root.ended)
        line.append(
            f"\n{began.astimezone(IST):%d %b %Y %H:%M:%S.%f}"[:-3] + f" IST, {took} ms in all", style=QUIET
        )
    return line


def _lines(root: Step) -> Iterator[tuple[str, Step, datetime | None]]:
    """Each step with the branches before it, and the time of the last timed step above it."""

    def below(
        step: Step, indent: str, before: datetime | None
    ) -> Iterator[tuple[str, Step, datetime | None]]:
        for n, one in enumerate(step.steps, 1):
            last = n == len(step.steps)
            yield indent + ("└─ " if last else "├─ "), one, before
            yield from below(one, indent + ("   " if last else "│  "), one.at or before)

    yield "", root, None
    yield from below(root, "", root.at)


def _width(step: Step) -> int:
    return max(len(step.kind), 7)


def _ms(began: datetime | None, at: datetime | None) -> str:
    found = _number(began, at)
    return "" if found is None else f"{found:,.1f}"


def _number(began: datetime | None, at: datetime | None) -> float | None:
    return None if began is None or at is None else round((at - began) / MILLISECOND, 3)


def _object(step: Step, began: datetime | None, before: datetime | None) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "text": step.text,
        "at": None if step.at is None else step.at.isoformat(),
        "since_start_ms": _number(began, step.at),
        "after_ms": _number(before, step.at),
        "ids": step.ids,
        "steps": [_object(one, began, step.at or before) for one in step.steps],
    }


def _objects(messages: Any) -> list[dict[str, Any]]:
    return [_plain(one) for one in messages]


def _plain(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(message)
    return found
