"""How many calls are admitted at once, of a server and of a connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.mesh.admission import ALWAYS_ADMITTED, Admission, CallKind
from alphapanda.mesh.bounds import CallBounds
from alphapanda.mesh.errors import TooMany

METHOD = "/panda.trading.v1.TradingService/ListOrders"


def admission(**bounds: int) -> Admission:
    return Admission(CallBounds(**bounds))


def test_a_connection_has_no_more_than_its_bound() -> None:
    """One that has as many calls as it may is refused; another isn't, and neither is the first once one has ended."""
    calls = admission(max_queries_per_connection=2)
    first, _ = (calls.admit(CallKind.QUERY, METHOD, ["a"]) for _ in range(2))
    with pytest.raises(TooMany) as refused:
        calls.admit(CallKind.QUERY, METHOD, ["a"])
    assert (refused.value.reason, calls.refused["TOO_MANY_QUERIES", METHOD]) == ("TOO_MANY_QUERIES", 1)
    calls.admit(CallKind.QUERY, METHOD, ["b"])
    first.release()
    calls.admit(CallKind.QUERY, METHOD, ["a"])


def test_a_full_server_still_admits_who_has_few_calls() -> None:
    """A few connections that fill the server don't shut the others out; twice the bound is the end for all."""
    calls = admission(max_queries=20, max_queries_per_connection=20)
    for _ in range(20):
        calls.admit(CallKind.QUERY, METHOD, ["loud"])
    for _ in range(ALWAYS_ADMITTED):
        calls.admit(CallKind.QUERY, METHOD, ["quiet"])
    with pytest.raises(TooMany):
        calls.admit(CallKind.QUERY, METHOD, ["quiet"])
    for number in range(20 - ALWAYS_ADMITTED):
        calls.admit(CallKind.QUERY, METHOD, [f"connection {number}"])
    with pytest.raises(TooMany):
        calls.admit(CallKind.QUERY, METHOD, ["one more"])


def test_kinds_do_not_take_each_others_places() -> None:
    """A server full of queries admits commands, watches, kill switches and calls between services."""
    calls = admission(max_queries=1, max_queries_per_connection=1)
    calls.admit(CallKind.QUERY, METHOD, ["a"])
    for kind in set(CallKind) - {CallKind.QUERY}:
        calls.admit(kind, METHOD, ["a"])


def test_a_caller_is_bounded_as_a_connection_is() -> None:
    """Whom a call counts for is a list: a caller with many connections has no more calls than with one."""
    calls = admission(max_queries_per_connection=2)
    for number in range(2):
        calls.admit(CallKind.QUERY, METHOD, [f"connection {number}", "caller"])
    with pytest.raises(TooMany):
        calls.admit(CallKind.QUERY, METHOD, ["connection 2", "caller"])


def test_a_place_is_free_when_all_who_held_it_have_released_it() -> None:
    """A command's place is held by its call and by its effect, whichever ends last."""
    calls = admission()
    ticket = calls.admit(CallKind.COMMAND, METHOD, ["a"])
    ticket.hold()
    ticket.release()
    assert calls.running[CallKind.COMMAND] == 1
    ticket.release()
    assert calls.running[CallKind.COMMAND] == 0


@given(
    st.lists(st.tuples(st.sampled_from(list(CallKind)), st.sampled_from("abc"), st.booleans()), max_size=60)
)
def test_nothing_is_left_of_calls_that_have_ended(calls_made: list[tuple[CallKind, str, bool]]) -> None:
    """Whatever came and was refused, an idle server counts nothing and remembers no connection."""
    calls = admission(max_queries=4, max_queries_per_connection=3, max_watches=2, max_urgent_calls=1)
    tickets = []
    for kind, holder, ends in calls_made:
        try:
            tickets.append(calls.admit(kind, METHOD, [holder]))
        except TooMany:
            continue
        if ends:
            tickets.pop(0).release()
    for ticket in tickets:
        ticket.release()
    assert not any(calls.running.values())
    assert not calls._held
