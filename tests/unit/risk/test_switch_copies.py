from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.order import TradingState
from alphapanda.risk.core.switch_copies import Agreement, SwitchCopy, agreement

COPIES = st.builds(SwitchCopy, st.sampled_from(TradingState), st.integers(0, 3))


@given(COPIES, COPIES)
def test_only_a_person_loosens_what_was_never_set(own: SwitchCopy, copy: SwitchCopy) -> None:
    """Whatever the two hold: an equal copy agrees, an older one gets what was set, a stricter one waits for a person."""
    found = agreement(own, copy)
    assert (found is Agreement.AGREES) == (own == copy)
    assert (found is Agreement.BEHIND) == (copy.revision < own.revision)
    if found is Agreement.TO_REPLACE:
        assert own.state >= copy.state
    if found is Agreement.TO_CONFIRM:
        assert own.state < copy.state
