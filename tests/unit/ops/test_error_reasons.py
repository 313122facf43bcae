"""Every reason for which something is refused or fails has its cause and what to do, in one table."""

from __future__ import annotations

import ast

from error_reasons import PAGE, _reasons, page, undescribed


def test_every_reason_has_a_cause_and_a_remedy() -> None:
    """No reason of the source is missing from the table, and none in it is of the past."""
    assert undescribed() == []


def test_the_table_is_the_sources() -> None:
    """`make error-reasons` would change nothing."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_a_new_reason_is_found() -> None:
    """A reason given as text or as a constant of its module is seen."""
    source = 'GONE = "ORDER_GONE"\nraise NotFound(GONE, "x")\nraise FailedPrecondition("NOT_NOW", f"y")'
    assert list(_reasons(ast.parse(source))) == ["ORDER_GONE", "NOT_NOW"]
