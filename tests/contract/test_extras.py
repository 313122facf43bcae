"""What only a broker needs stays out of everybody else's way."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from alphapanda.domain.errors import InvalidInput
from alphapanda.paper_exchange.exchange import PaperExchange
from alphapanda.trading.traders import zerodha
from alphapanda.trading.traders.registry import TraderParts

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
from importlib.metadata import packages_distributions

unwanted = set(sys.argv[1:])
hidden = {
    name
    for name, owners in packages_distributions().items()
    if {owner.lower().replace("_", "-").replace(".", "-") for owner in owners} <= unwanted
}
assert {"kiteconnect", "twisted", "requests"} <= hidden, hidden


class Hider:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is only there with alphapanda[zerodha]", name=name)


sys.meta_path.insert(0, Hider())
import alphapanda

modules = [
    module.name
    for module in pkgutil.walk_packages(alphapanda.__path__, "alphapanda.")
    if ".migrations." not in module.name and ".kite" not in module.name
]
for module in modules:
    importlib.import_module(module)
print(len(modules))
"""


def _locked(requirements: Path) -> set[str]:
    return set(
        re.findall(
            r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==", requirements.read_text(encoding="utf-8"), re.MULTILINE
        )
    )


def test_nothing_but_zerodha_needs_the_packages_of_its_extra(repo_root: Path) -> None:
    """Every module but those of Kite is imported where kiteconnect, Twisted and all that they bring can't be."""
    requirements = repo_root / "requirements"
    of_the_extra = _locked(requirements / "zerodha.txt") - _locked(requirements / "runtime.txt")
    assert {"kiteconnect", "twisted", "autobahn", "requests"} <= of_the_extra
    assert not of_the_extra & _locked(requirements / "embedded.txt")
    finished = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING, *sorted(of_the_extra)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout) > 100


@pytest.mark.parametrize(
    ("is_installed", "words"), [(True, "an account at Zerodha"), (False, r"alphapanda\[zerodha\]")]
)
def test_who_enables_zerodha_is_told_what_is_missing(
    is_installed: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal names the extra where it isn't installed, else the account."""
    monkeypatch.setattr(zerodha, "find_spec", lambda _: object() if is_installed else None)
    with pytest.raises(InvalidInput, match=words):
        zerodha.REGISTRATION.build(TraderParts(cast("PaperExchange", None), 1.0))
