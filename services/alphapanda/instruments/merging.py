"""Merges a file's instruments into those that are known: what is new, what changed, whose token went to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from alphapanda.domain.instrument import Instrument

_OWN_SEGMENT: Final = 254
"""Lowest byte of our own tokens. A broker's token ends in its segment's number, and Kite's segments end at 12."""


def own_token(number: int) -> int:
    """The token of the n-th instrument (from 1) that has none of a broker's, or has lost it."""
    return number * 256 + _OWN_SEGMENT


@dataclass(frozen=True, slots=True)
class Entry:
    """A known instrument; `until` is the day on which it expired or its token went to another."""

    instrument: Instrument
    until: date | None = None


@dataclass(slots=True)
class Merge:
    """What a file changes.

    Attributes:
        stored: the entries that are new or different.
        own_tokens: how many own tokens have been given away, before and now.
        added: instruments that were not known.
        changed: instruments that were known with other values, or had lost their token.
        ended: instruments whose token belongs to another one now.
        unchanged: instruments that are the same.
    """

    stored: dict[str, Entry] = field(default_factory=dict)
    own_tokens: int = 0
    added: int = 0
    changed: int = 0
    ended: int = 0
    unchanged: int = 0


def merged(known: Mapping[str, Entry], listed: Iterable[Instrument], own_tokens: int, day: date) -> Merge:
    """Merges instruments, each of which is listed once, with a token that no other of them has.

    An instrument without a token keeps the one that it has, else it gets an own one. Whoever loses its token to
    another keeps its id under an own token, so that recordings of it can still be replayed.

    Args:
        known: the entries by instrument_id.
        listed: the instruments of a file; token 0 where it has none.
        own_tokens: how many own tokens have been given away.
        day: the day of the file.
    """
    merge = Merge(own_tokens=own_tokens)
    holders = {entry.instrument.instrument_token: name for name, entry in known.items()}
    incoming = {one.instrument_id: one for one in listed}
    for name, one in incoming.items():
        before = known.get(name)
        if not one.instrument_token:
            token = before.instrument.instrument_token if before else _next_token(merge)
            one = replace(one, instrument_token=token)  # noqa: PLW2901 - the same one, complete
        elif (holder := holders.get(one.instrument_token)) is not None and holder not in incoming:
            _end(merge, known[holder], day)
        expired = one.expiry is not None and one.expiry < day
        entry = Entry(one, one.expiry if expired else None)
        if before == entry:
            merge.unchanged += 1
            continue
        merge.stored[name] = entry
        if before is None:
            merge.added += 1
        else:
            merge.changed += 1
    return merge


def recovered(instruments: Iterable[Instrument]) -> Merge:
    """All of these, with the tokens that they have, where nothing is known any more."""
    stored = {one.instrument_id: Entry(one) for one in instruments}
    tokens = [entry.instrument.instrument_token for entry in stored.values()]
    own = [token // 256 for token in tokens if token % 256 == _OWN_SEGMENT]
    return Merge(stored, max(own, default=0), added=len(stored))


def _next_token(merge: Merge) -> int:
    """Takes the next own token."""
    merge.own_tokens += 1
    return own_token(merge.own_tokens)


def _end(merge: Merge, holder: Entry, day: date) -> None:
    lost = replace(holder.instrument, instrument_token=_next_token(merge))
    merge.stored[lost.instrument_id] = Entry(lost, day)
    merge.ended += 1
