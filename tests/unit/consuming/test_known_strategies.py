from __future__ import annotations

import pytest

from alphapanda.consuming.known_strategies import KnownStrategies
from alphapanda.domain.errors import UnknownName
from panda.events.v1.control_pb2 import StrategyChanged
from panda.events.v1.events_pb2 import Event


async def _created(strategies: KnownStrategies, name: str, account: str = "default") -> None:
    await strategies.apply(Event(strategy_changed=StrategyChanged(strategy_id=name, account=account)))


async def test_a_strategy_that_was_just_created_is_waited_for() -> None:
    """Its creation is answered before its event is on the topic; a name that never comes is refused after that."""
    strategies = KnownStrategies(grace_seconds=5.0)
    asked = 0

    async def settled() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            await _created(strategies, "young", "other")
        return True

    strategies.follow(settled)
    assert await strategies.verify("strategy_id", "young") == ""
    assert strategies.accounts == {"other"}
    strategies = KnownStrategies(grace_seconds=0.0)
    strategies.follow(settled)
    with pytest.raises(UnknownName, match="allowed: foreign, manual"):
        await strategies.verify("strategy_id", "young")


@pytest.mark.parametrize("away", [None, ConnectionError("away")])
async def test_what_cant_be_read_now_is_unverified_and_not_unknown(away: Exception | None) -> None:
    """A topic that isn't read to its end, or can't be, refuses no name; and one that is known needs no look."""
    strategies = KnownStrategies(grace_seconds=0.0)

    async def settled() -> bool:
        if away is not None:
            raise away
        return False

    strategies.follow(settled)
    await _created(strategies, "known")
    assert (await strategies.verify("strategy_id", "unheard")).startswith(
        "unverified: the list of strategies"
    )
    for name in ("known", "manual", ""):
        assert await strategies.verify("strategy_id", name) == ""
    assert await strategies.verify("strategy_id", "else", ["else"]) == ""


async def test_a_bug_is_no_reason_to_go_on_unverified() -> None:
    """Only what heals by itself counts as unread."""
    strategies = KnownStrategies(grace_seconds=0.0)

    async def settled() -> bool:
        raise KeyError("a bug")

    strategies.follow(settled)
    with pytest.raises(KeyError):
        await strategies.verify("strategy_id", "x")
