"""Page tokens: opaque, bound to their request, never trusted."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.paging import decode_page_token, encode_page_token

NUMBERS = st.integers(-(2**63), 2**63 - 1)
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
KEYS = st.lists(WORDS | NUMBERS, min_size=1, max_size=4)


@given(after=KEYS, filters=st.text())
def test_a_token_leads_back_to_its_row(after, filters) -> None:
    """What was encoded is decoded, for the same filters."""
    kinds = [type(part) for part in after]
    assert decode_page_token(encode_page_token(after, filters), filters, *kinds) == after


def test_no_token_is_the_first_page() -> None:
    """An empty token begins at the beginning."""
    assert decode_page_token("", "broker=paper", str) is None


def test_a_token_of_other_filters_is_refused() -> None:
    """A token can't be carried over to a request with other filters."""
    with pytest.raises(InvalidInput, match=r"^page_token: .*same filters"):
        decode_page_token(encode_page_token(["a"], "broker=paper"), "broker=zerodha", str)


@given(token=st.text(min_size=1))
def test_any_other_text_is_refused(token) -> None:
    """Whatever a caller makes up is bad input, never a defect."""
    with pytest.raises(InvalidInput):
        decode_page_token(token, "broker=paper", str)


@pytest.mark.parametrize("token", ["W10", "e30", "MQ", "bnVsbA", "WzEsbnVsbF0"])
def test_json_that_is_no_token_is_refused(token) -> None:
    """[], {}, 1, null and [1,null] are JSON, and no tokens."""
    with pytest.raises(InvalidInput):
        decode_page_token(token, "", str)


def test_json_without_an_end_is_refused() -> None:
    """Brackets nested deeper than the parser goes are bad input like any other."""
    with pytest.raises(InvalidInput):
        decode_page_token(urlsafe_b64encode(b"[" * 100_000).decode(), "", str)


@pytest.mark.parametrize("after", [[], ["a"], [1, 2], [True], [2**63], [-(2**63) - 1]])
def test_a_forged_token_has_the_parts_of_a_real_one(after) -> None:
    """The checksum is no secret: a part too many or too few, of another kind or beyond a BIGINT is refused."""
    with pytest.raises(InvalidInput):
        decode_page_token(encode_page_token(after, ""), "", int)


@pytest.mark.parametrize("text", ["\0", "\ud800"])
def test_text_that_no_row_can_have_is_refused(text) -> None:
    """NUL and half a character are text to JSON, and to no database."""
    with pytest.raises(InvalidInput):
        decode_page_token(encode_page_token([text], ""), "", str)
