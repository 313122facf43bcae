"""Passwords are hashed few at once, and as long for a user that doesn't exist."""

from __future__ import annotations

import asyncio
import threading

import pytest
from argon2 import PasswordHasher

from alphapanda.auth.hashing import MOST_WAITING, Passwords
from alphapanda.mesh.errors import TooMany

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Counting:
    """A hasher that counts, and waits where a test says so."""

    def __init__(self) -> None:
        self.verified: list[str] = []
        self.at_once = self.most_at_once = 0
        self.go = threading.Event()
        self.go.set()

    def hash(self, password: str) -> str:
        return CHEAP.hash(password)

    def verify(self, stored: str, password: str) -> bool:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.go.wait(10)
        self.verified.append(stored)
        self.at_once -= 1
        return CHEAP.verify(stored, password)


async def test_an_unknown_user_costs_the_same_hash() -> None:
    """A hash is compared in any case: with that of a password that nobody has, which never matches."""
    counting = Counting()
    passwords = Passwords(2, counting)  # type: ignore[arg-type]
    await passwords.start()
    assert not await passwords.matches("", "guess")
    [nobody_s] = counting.verified
    assert nobody_s.startswith("$argon2id$")
    stored = await passwords.hashed("right")
    assert await passwords.matches(stored, "right")
    assert not await passwords.matches(stored, "wrong")
    assert not await passwords.matches("no hash at all", "wrong")
    await passwords.stop()


async def test_few_are_hashed_at_once_and_few_wait() -> None:
    """Two work, the others wait; beyond MOST_WAITING one is refused at once, and the loop goes on meanwhile."""
    counting = Counting()
    passwords = Passwords(2, counting)  # type: ignore[arg-type]
    await passwords.start()
    counting.go.clear()
    waiting = [asyncio.ensure_future(passwords.matches("", "guess")) for _ in range(2 + MOST_WAITING)]
    await asyncio.sleep(0.05)
    with pytest.raises(TooMany, match="too many passwords"):
        await passwords.matches("", "guess")
    counting.go.set()
    assert await asyncio.gather(*waiting) == [False] * (2 + MOST_WAITING)
    assert counting.most_at_once == 2
    await passwords.stop()
