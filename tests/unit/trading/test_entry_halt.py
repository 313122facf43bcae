"""When a live account's entries are halted, and how long nothing is sent after what couldn't be sent."""

from __future__ import annotations

from alphapanda.trading.core.entry_halt import EntryHalt, Pause


def test_rule_4_only_equal_refusals_in_a_row_halt() -> None:
    """Another one in between begins the count anew, and an order that is taken ends the halt."""
    halt = EntryHalt(3)
    assert [halt.refused(words) for words in ("a", "a", "b", "a", "a")] == [False] * 5
    assert halt.refused("a")
    assert "3 orders in a row" in halt.reason
    assert not halt.refused("a")  # is no news
    halt.answered()
    assert (halt.reason, halt.refused("a")) == ("", False)


def test_a_pause_doubles_until_an_order_gets_through() -> None:
    """From a second to half a minute."""
    pause, now, lasted = Pause(), 100.0, []
    for _ in range(7):
        pause.begin(now, "no connection")
        began = now
        while pause.reason(now):
            now += 1.0
        lasted.append(now - began)
    assert lasted == [1, 2, 4, 8, 16, 30, 30]
    pause.over()
    pause.begin(now, "no connection")
    assert (pause.reason(now), pause.reason(now + 1)) == ("no connection", "")
