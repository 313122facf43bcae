"""Hashes passwords with argon2id, in threads of its own, few at once: each takes 64 MiB and a third of a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from secrets import token_urlsafe
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from alphapanda.mesh.errors import TooMany

MOST_WAITING: Final = 50
"""Passwords that wait to be hashed; one more is refused."""
T = TypeVar("T")


class Passwords:
    """Hashes and compares passwords.

    Args:
        at_once: passwords that are hashed at once.
        hasher: argon2 with its costs; those of RFC 9106 for little memory where None.
    """

    def __init__(self, at_once: int, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="passwords")
        self._most = at_once + MOST_WAITING
        self._under_way = 0
        self._nobody_s = ""

    async def start(self) -> None:
        """Hashes a password that nobody has, for users that don't exist."""
        self._nobody_s = await self.hashed(token_urlsafe())

    async def stop(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def hashed(self, password: str) -> str:
        """The hash to store.

        Raises:
            TooMany: too many wait already.
        """
        return await self._in_thread(self._hasher.hash, password)

    async def matches(self, stored: str, password: str) -> bool:
        """Whether a password is the stored one; takes as long where there is none stored.

        Raises:
            TooMany: too many wait already.
        """
        same = await self._in_thread(self._same, stored or self._nobody_s, password)
        return same and bool(stored)

    def is_dated(self, stored: str) -> bool:
        """Whether a stored hash was made with other costs than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _same(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[..., T], *arguments: str) -> T:
        if self._under_way >= self._most:
            raise TooMany("TOO_MANY_PASSWORDS", "too many passwords wait to be checked; try again")
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        future.add_done_callback(self._done)
        return await future

    def _done(self, _: object) -> None:
        self._under_way -= 1
