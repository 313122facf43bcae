"""What a check of the doctor found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line

CHECK_SECONDS: Final = 3.0


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check.

    Attributes:
        name: such as "disk space".
        outcome: ok; warn: it starts, and a person should know; fail: it would not start.
        reason: what was seen.
        remedy: what to do; empty where there is nothing to be done.
    """

    name: str
    outcome: Outcome
    reason: str
    remedy: str = ""


def ok(name: str, reason: str) -> Finding:
    """All is well."""
    return Finding(name, Outcome.OK, reason)


def warn(name: str, reason: str, remedy: str) -> Finding:
    """It starts, and a person should know."""
    return Finding(name, Outcome.WARN, reason, remedy)


def fail(name: str, reason: str, remedy: str) -> Finding:
    """It would not start."""
    return Finding(name, Outcome.FAIL, reason, remedy)


async def found(
    name: str, look: Callable[[], Awaitable[list[Finding]]], remedy: str, seconds: float = CHECK_SECONDS
) -> list[Finding]:
    """What a look finds; where it raises or takes too long, that fails under this name.

    Args:
        name: of the check that failed.
        look: finds; its own findings have names of their own.
        remedy: what to do about a failure.
        seconds: the longest it may take.
    """
    findings: list[Finding] = []

    async def within() -> None:
        async with asyncio.timeout(seconds):
            findings.extend(await look())

    error = await attempted(within())
    if error is None:
        return findings
    why = f"no answer within {seconds:g} s" if isinstance(error, TimeoutError) else in_one_line(error)
    return [*findings, fail(name, why, remedy)]
