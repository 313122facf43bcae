"""How long a sign-in has to wait after wrong passwords, so that guessing takes for ever and the owner never does.

Wrong passwords are counted for a user at an address, for a user and for an address. After the free ones the wait doubles
with each, from 1 second. The wait of a user as a whole is short, and doesn't hold at an address where the user signed in
before: a stranger who guesses elsewhere keeps nobody out. Nothing is locked, and a try that is refused counts for nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MOST_REMEMBERED: Final = 20_000
"""Users, addresses and pairs of which wrong passwords are counted; beyond, the oldest is forgotten."""
FORGET_SECONDS: Final = 86_400.0
WHOLE_USER_SECONDS: Final = 30
"""Longest wait of a user at addresses where the user never signed in."""
_MANY: Final = 4
"""A user as a whole, and an address, have so many times the free failures of a pair."""
_MOST_DOUBLINGS: Final = 30


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class LoginWaits:
    """Counts wrong passwords, and says how long the next try has to wait.

    Args:
        free: wrong passwords of a user from an address that cost no wait.
        longest_seconds: the longest wait.
    """

    def __init__(self, free: int, longest_seconds: int) -> None:
        self._free = free
        self._longest = longest_seconds
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    @property
    def remembered(self) -> int:
        """Number of users, addresses and pairs that are counted."""
        return len(self._failures)

    def begin(self, user: str, address: str, now: float, *, known: bool) -> float:
        """Begins a try, which counts as failed until `succeeded`; so many at once don't pass together.

        Args:
            user: name that signs in, whether there is such a user or not.
            address: where from.
            now: seconds of a clock that never goes back.
            known: whether the user signed in from this address before.

        Returns:
            Seconds to wait before the next try; 0: go ahead.
        """
        limits = {
            (user, address): (self._free, self._longest),
            ("", address): (_MANY * self._free, self._longest),
        }
        if not known:
            limits[user, ""] = (_MANY * self._free, min(WHOLE_USER_SECONDS, self._longest))
        wait = max(self._wait(key, free, longest, now) for key, (free, longest) in limits.items())
        if wait > 0:
            return wait
        for key in limits:
            self._count(key, now)
        return 0.0

    def succeeded(self, user: str, address: str) -> None:
        """Ends a try whose password was right. The address keeps what it failed with others' names."""
        self._failures.pop((user, address), None)
        self._failures.pop((user, ""), None)
        if (of_address := self._failures.get(("", address))) is not None:
            of_address.count -= 1

    def forgive(self, user: str) -> None:
        """Forgets a user's wrong passwords: an administrator has set a new one."""
        for key in [key for key in self._failures if key[0] == user]:
            del self._failures[key]

    def _wait(self, key: tuple[str, str], free: int, longest: int, now: float) -> float:
        found = self._failures.get(key)
        if found is None or found.count < free:
            return 0.0
        doublings = min(found.count - free, _MOST_DOUBLINGS)
        wait: int = min(2**doublings, longest)
        return max(0.0, found.last + wait - now)

    def _count(self, key: tuple[str, str], now: float) -> None:
        found = self._failures.pop(key, None)
        if found is None or now - found.last > FORGET_SECONDS:
            found = _Failures(0, now)
        found.count, found.last = found.count + 1, now
        self._failures[key] = found
        if len(self._failures) > MOST_REMEMBERED:
            self._failures.popitem(last=False)
