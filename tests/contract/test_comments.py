"""The contract's comments; that every element has one is buf's to find."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROTOS = Path("protos/panda")


@pytest.mark.parametrize(
    "proto", sorted(PROTOS.rglob("*.proto")), ids=lambda proto: str(proto.relative_to(PROTOS))
)
def test_a_comment_names_its_subject(proto: Path) -> None:
    """No comment consists of a pronoun or points elsewhere: it says what the element is."""
    empty = re.findall(
        r"^ *// (?:It|Them|Those|Which|Why|See above|As above|A page)\.$", proto.read_text(), re.MULTILINE
    )

    assert not empty
