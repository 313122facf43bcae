"""The limit on open files: raised as far as the system lets this process; too low a one is found before the start."""

from __future__ import annotations

import resource
from typing import Final

LEAST_DESCRIPTORS: Final = 256
"""What `up` or `serve` needs: about 60 at rest, one for each client, and room for bursts."""

WANTED_DESCRIPTORS: Final = 65_536


class TooFewDescriptors(Exception):
    """This process may open fewer files than it needs."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"open files are limited to {limit}, at least {LEAST_DESCRIPTORS} are needed: run `ulimit -n 4096` first"
        )


def raise_descriptor_limit() -> None:
    """Raises the soft limit towards the hard one, up to WANTED_DESCRIPTORS; child processes inherit it.

    Raises:
        TooFewDescriptors: the hard limit is below LEAST_DESCRIPTORS.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED_DESCRIPTORS)
    if most < LEAST_DESCRIPTORS:
        raise TooFewDescriptors(most)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
