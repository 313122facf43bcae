"""What is asked of the ticker: messages, and which connection streams what."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from alphapanda.kite.subscriptions import Allocation, Mode, changes

MODES = st.dictionaries(st.integers(1, 40), st.sampled_from(Mode))


def server(modes: dict[int, str], message: str) -> None:
    """What a server does with a message."""
    asked = json.loads(message)
    action, value = asked["a"], asked["v"]
    if action == "unsubscribe":
        for token in value:
            del modes[token]
    elif action == "subscribe":
        assert not modes.keys() & set(value)
        modes |= dict.fromkeys(value, "quote")
    else:
        mode, tokens = value
        assert set(tokens) <= modes.keys()
        modes |= dict.fromkeys(tokens, mode)


@given(MODES, MODES)
def test_the_messages_lead_from_one_state_to_the_other(
    before: dict[int, Mode], after: dict[int, Mode]
) -> None:
    """Whatever was streamed, the server streams what is wanted, each instrument in its mode."""
    modes: dict[int, str] = {}
    for message in [*changes({}, before), *changes(before, after)]:
        server(modes, message)
    assert modes == {token: mode.value for token, mode in after.items()}


def test_what_stays_is_not_asked_again_and_messages_stay_short() -> None:
    """Nothing is sent where nothing changed; 3,000 instruments are asked for in parts of 500."""
    wanted = dict.fromkeys(range(3000), Mode.FULL)
    sent = [json.loads(message) for message in changes({}, wanted)]
    assert [one["a"] for one in sent] == ["subscribe"] * 6 + ["mode"] * 6
    assert len(sent[0]["v"]) == 500
    assert not list(changes(wanted, wanted))


@given(st.lists(st.lists(st.integers(1, 30), unique=True), max_size=6))
def test_instruments_are_spread_and_stay_where_they_are(rounds: list[list[int]]) -> None:
    """Each wanted instrument is on one connection as long as there is room; one that stays wanted doesn't move."""
    allocation = Allocation(connections=3, most_tokens=5)
    before: dict[int, int] = {}
    for tokens in rounds:
        held = allocation.allocate(dict.fromkeys(tokens, Mode.QUOTE))
        assert all(len(each) <= 5 for each in held)
        places = {token: number for number, each in enumerate(held) for token in each}
        assert sum(map(len, held)) == len(places)
        assert set(places) == set(tokens[:15])
        assert list(allocation.left_out) == tokens[15:]
        assert all(before[token] == place for token, place in places.items() if token in before)
        before = places


def test_7500_instruments_need_three_connections_and_one_needs_one() -> None:
    """A connection is opened when the ones before are full."""
    allocation = Allocation()
    assert [len(each) for each in allocation.allocate(dict.fromkeys(range(7500), Mode.FULL))] == [
        3000,
        3000,
        1500,
    ]
    assert [len(each) for each in Allocation().allocate({1: Mode.QUOTE})] == [1, 0, 0]
    assert not allocation.left_out
