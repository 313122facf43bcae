from __future__ import annotations

import pickle

import pytest

from alphapanda.domain.errors import InvalidInput, UnknownName


@pytest.mark.parametrize(
    "error", [InvalidInput("quantity", 0, "above 0"), UnknownName("strategy", "ema", ["ema_cross", "rsi"])]
)
def test_a_refusal_is_the_same_in_another_process(error):
    """Class, message and parts; a worker's refusal reaches who asked."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert (again.field, again.value, again.allowed) == (error.field, error.value, error.allowed)
