"""Page tokens: opaque, bound to their request, never trusted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.paging import decode_page_token, encode_page_token

KEYS = st.lists(st.text() | st.integers(), min_size=1, max_size=4)


@given(after=KEYS, filters=st.text())
def test_a_token_leads_back_to_its_row(after, filters) -> None:
    """What was encoded is decoded, for the same filters."""
    assert decode_page_token(encode_page_token(after, filters), filters) == after


def test_no_token_is_the_first_page() -> None:
    """An empty token begins at the beginning."""
    assert decode_page_token("", "broker=paper") is None


def test_a_token_of_other_filters_is_refused() -> None:
    """A token can't be carried over to a request with other filters."""
    with pytest.raises(InvalidInput, match=r"^page_token: .*same filters"):
        decode_page_token(encode_page_token(["a"], "broker=paper"), "broker=zerodha")


@given(token=st.text(min_size=1))
def test_any_other_text_is_refused(token) -> None:
    """Whatever a caller makes up is bad input, never a defect."""
    with pytest.raises(InvalidInput):
        decode_page_token(token, "broker=paper")


@pytest.mark.parametrize("token", ["W10", "e30", "MQ", "bnVsbA", "WzEsbnVsbF0"])
def test_json_that_is_no_token_is_refused(token) -> None:
    """[], {}, 1, null and [1,null] are JSON, and no tokens."""
    with pytest.raises(InvalidInput):
        decode_page_token(token, "")
