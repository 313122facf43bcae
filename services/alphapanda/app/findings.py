"""Findings of the doctor's checks."""

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
    """Outcome of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        name: such as "disk space".
        outcome: ok; warn: the platform starts, but with a problem; fail: it would not start.
        reason: what the check found.
        remedy: what to do; empty where there is nothing to do.
    """

    name: str
    outcome: Outcome
    reason: str
    remedy: str = ""


def ok(name: str, reason: str) -> Finding:
    """Returns a finding: no problem."""
    return Finding(name, Outcome.OK, reason)


def warn(name: str, reason: str, remedy: str) -> Finding:
    """Returns a finding: the platform starts, but with a problem."""
    return Finding(name, Outcome.WARN, reason, remedy)


def fail(name: str, reason: str, remedy: str) -> Finding:
    """Returns a finding: the platform would not start."""
    return Finding(name, Outcome.FAIL, reason, remedy)


async def found(
    name: str, look: Callable[[], Awaitable[list[Finding]]], remedy: str, seconds: float = CHECK_SECONDS
) -> list[Finding]:
    """Runs a check and returns its findings; a failed finding where it raises or takes too long.

    Args:
        name: name of the failed finding.
        look: runs the check; its own findings have names of their own.
        remedy: what to do about the failure.
        seconds: time-out of the check.
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
