"""ExecutionRouter: which brokers get a strategy's orders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.routing import ExecutionRouter

BROKERS = ("paper", "zerodha", "third")


def test_paper_is_the_shadow_of_every_strategy() -> None:
    """Paper gets everything; another broker what opted in to it, in the order of the settings."""
    router = ExecutionRouter(BROKERS)
    assert router.brokers(()) == ("paper",)
    assert router.brokers(("zerodha",)) == ("paper", "zerodha")
    assert router.brokers(("third", "zerodha")) == BROKERS
    assert router.brokers(("nobody",)) == ("paper",)


def test_paper_that_is_off_leaves_the_live_broker() -> None:
    """By the settings, or switched off while everything runs."""
    assert ExecutionRouter(["zerodha"]).brokers(("zerodha",)) == ("zerodha",)
    router = ExecutionRouter(BROKERS)
    router.switch_off(["paper"])
    assert router.brokers(("zerodha",)) == ("zerodha",)
    assert router.brokers(()) == ()
    assert not router.is_enabled("paper")
    assert router.enabled == BROKERS


def test_a_switch_is_seen_at_once_and_taken_back() -> None:
    """Whatever was asked before; the newest set of switches counts."""
    router = ExecutionRouter(BROKERS)
    assert router.brokers(("zerodha",)) == ("paper", "zerodha")
    router.switch_off(["zerodha"])
    assert router.brokers(("zerodha",)) == ("paper",)
    router.switch_off([])
    assert router.brokers(("zerodha",)) == ("paper", "zerodha")


@pytest.mark.parametrize("broker", ["zerodha", "nobody"])
def test_what_is_not_enabled_is_never_switched_on(broker: str) -> None:
    """No switch routes to a broker that the settings leave out."""
    router = ExecutionRouter(["paper"])
    router.switch_off([])
    assert not router.is_enabled(broker)
    assert router.brokers((broker,)) == ("paper",)


@given(
    enabled=st.lists(st.sampled_from(BROKERS), unique=True),
    opted_in=st.lists(st.sampled_from([*BROKERS, "nobody"])),
    off=st.sets(st.sampled_from([*BROKERS, "nobody"])),
)
def test_a_route_is_enabled_wanted_and_on(enabled: list[str], opted_in: list[str], off: set[str]) -> None:
    """Exactly those brokers, each once, in the order of the settings."""
    router = ExecutionRouter(enabled)
    router.switch_off(off)
    wanted = {"paper", *opted_in}
    assert router.brokers(opted_in) == tuple(one for one in enabled if one in wanted and one not in off)
    assert all(router.is_enabled(one) is (one in enabled and one not in off) for one in [*BROKERS, "nobody"])
