"""Which strategies may be shown many ticks at once."""

from __future__ import annotations

from alphapanda.strategy.core.ema_cross import EmaCross, EmaCrossParameters
from alphapanda.strategy.core.isolator import Isolated
from alphapanda.strategy.core.strategy import Target


class Silent(EmaCross):
    """A user's own: an EMA cross that never trades."""

    def on_tick(self, price: float, time_ns: int) -> Target | None:
        super().on_tick(price, time_ns)
        return None


def test_a_strategy_that_inherits_its_batches_is_shown_each_tick() -> None:
    """One that overrides `on_tick` alone would trade in a replay as its parent does, and live as itself."""

    def isolated(strategy_type: type[EmaCross]) -> Isolated:
        return Isolated(strategy_type, EmaCrossParameters(), lambda _isolated, _error: None)

    assert isolated(EmaCross).supports_batches
    assert not isolated(Silent).supports_batches
