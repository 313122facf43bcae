from __future__ import annotations

import string
from uuid import uuid4

from alphapanda.auth.core.broker_session import BrokerAccount
from alphapanda.auth.core.login_states import LoginState, read_state, signed_state

KEY = b"k" * 32
LETTERS = string.ascii_letters + string.digits + "-_"


def test_a_state_counts_as_it_was_written_alone() -> None:
    """Any other letter at any place makes it nobody's: also one that stands for the same bytes, as a last letter may."""
    state = LoginState(BrokerAccount("zerodha", "default"), str(uuid4()), 1_796_099_400)
    text = signed_state(state, KEY)
    assert read_state(text, [b"o" * 32, KEY]) == state
    for place in range(len(text)):
        for letter in LETTERS:
            changed = text[:place] + letter + text[place + 1 :]
            assert changed == text or read_state(changed, [KEY]) is None
