"""Frozen dataclasses with the faster constructor are like those without it."""

from __future__ import annotations

import copy
import inspect
from dataclasses import FrozenInstanceError, dataclass, replace

import pytest

from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.value import quickly_built


@dataclass(frozen=True, slots=True)
class Slow:
    name: str
    units: int = 3
    note: str | None = None


@quickly_built
@dataclass(frozen=True, slots=True)
class Quick:
    name: str
    units: int = 3
    note: str | None = None


def test_arguments_defaults_and_their_errors_are_the_dataclasss():
    """By position, by name, with defaults; a missing or unknown argument is a TypeError that names the class."""
    for made in (Quick("a", 4), Quick(name="a", units=4), Quick("a", note="n"), Quick("a")):
        assert made.name == "a"
    assert (Quick("a").units, Quick("a").note) == (3, None)
    for arguments, named in (((), {}), (("a", 1, None, 5), {}), (("a",), {"unit": 5})):
        with pytest.raises(TypeError, match=r"Quick\.__init__"):
            Quick(*arguments, **named)
    assert inspect.get_annotations(Quick.__init__) == inspect.get_annotations(Slow.__init__)


def test_it_is_frozen_equal_hashable_copied_and_replaced_as_before():
    """Nothing but the constructor has changed."""
    quick = Quick("a", 4)
    assert type(quick) is Quick
    with pytest.raises(FrozenInstanceError):
        quick.units = 5
    with pytest.raises((FrozenInstanceError, TypeError, AttributeError)):
        quick.other = 5
    assert quick == Quick("a", 4) != Quick("a", 5)
    assert hash(quick) == hash(Slow("a", 4))
    assert repr(quick) == repr(Slow("a", 4)).replace("Slow", "Quick")
    assert copy.copy(quick) == copy.deepcopy(quick) == quick
    assert replace(quick, units=9) == Quick("a", 9)


def test_a_position_key_is_hashed_as_it_is_compared():
    """Equal keys made apart are one dictionary entry; a key that differs in any part is another."""
    key = PositionKey("paper", "default", "s", "NSE:INFY", Product.MIS)
    twin = PositionKey("paper", "default", "s", "NSE:INFY", Product.MIS)
    assert key == twin
    assert {key: 1}[twin] == 1
    for part, value in (("broker", "x"), ("account", "x"), ("strategy_id", "x"), ("product", Product.CNC)):
        other = replace(key, **{part: value})
        assert other != key
        assert {key: 1}.get(other) is None
