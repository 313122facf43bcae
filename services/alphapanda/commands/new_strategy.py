"""`alphapanda new-strategy NAME`: the first version of a strategy, and its test."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import click

from alphapanda.commands.console import USAGE, fail, out
from alphapanda.domain.errors import InvalidInput

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
DEFAULT_FOLDER: Final = Path("strategies")

STRATEGY: Final = '''"""TITLE: long while the close stands above every close of the bars before."""

from __future__ import annotations

from collections import deque

from alphapanda.strategy import Bar, BarParameters, BarStrategy, Field, Stance, Target


class Parameters(BarParameters):
    """What can be set with -p NAME=VALUE; `interval` is there already."""

    bars: int = Field(20, ge=2, le=1_000, description="bars looked back on")


class CLASS(BarStrategy[Parameters]):
    """Built once for each instrument. All attributes are its state: they outlive a restart.

    In on_bar, `self.context` has `symbol`, `lot_size` and `tick_size`. With `wants_position = True` here, its `position`
    (quantity, average_price) and `open_orders` say what it holds and what is on its way.
    """

    type_name = "NAME"
    parameters_model = Parameters

    def __init__(self, parameters: Parameters) -> None:
        self.closes: deque[float] = deque(maxlen=parameters.bars)

    def on_bar(self, bar: Bar) -> Target | None:
        """Says at each closed bar what to hold; None leaves things as they are."""
        before = list(self.closes)
        self.closes.append(bar.close)
        if len(before) < (self.closes.maxlen or 0):
            return None
        stance = Stance.LONG if bar.close > max(before) else Stance.FLAT
        return Target(stance, f"close {bar.close:.2f}, highest before {max(before):.2f}")
'''

TEST: Final = '''"""Run it with: pytest FOLDER"""

from __future__ import annotations

import json

from alphapanda.strategy import Bar, Stance
from NAME import CLASS, Parameters

MINUTE = 60_000_000_000


def bar(number: int, close: float) -> Bar:
    """Minute bar `number` of a day, whose prices are all its close."""
    return Bar(number * MINUTE, (number + 1) * MINUTE, 0, close, close, close, close, 100, 1)


def stances(strategy: CLASS, closes: list[float]) -> list[Stance | None]:
    """What it says at each of these closes."""
    targets = [strategy.on_bar(bar(number, close)) for number, close in enumerate(closes)]
    return [None if target is None else target.stance for target in targets]


def test_it_is_long_above_the_closes_before() -> None:
    """Silent until it knows enough closes, then long above all of them, else flat."""
    strategy = CLASS(Parameters(bars=2))
    assert stances(strategy, [10, 11, 12, 11.5]) == [None, None, Stance.LONG, Stance.FLAT]


def test_a_restart_changes_nothing() -> None:
    """Its state goes through JSON and back without a trace."""
    first, second = CLASS(Parameters(bars=2)), CLASS(Parameters(bars=2))
    stances(first, [10, 11, 12])
    second.restore(json.loads(json.dumps(first.state())))
    assert stances(second, [13, 9]) == stances(first, [13, 9]) == [Stance.LONG, Stance.FLAT]
'''


@click.command()
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="where to write it  [default: the setting strategy.folder, else ./strategies]",
)
def new_strategy(name: str, folder: Path | None) -> None:
    """Write a strategy of your own, NAME.py, and its test, test_NAME.py."""
    from alphapanda.settings.sources import SettingsInvalid, load_settings

    try:
        if folder is None:
            settings = load_settings(os.environ, dotenv=Path(".env"))
            folder = (settings.strategy.folder or DEFAULT_FOLDER).expanduser()
        written = write_strategy(name, folder)
    except (InvalidInput, SettingsInvalid) as error:
        fail(str(error), USAGE)
    out.print(f"wrote {written[0]} and {written[1]}. Try:", markup=False, soft_wrap=True)
    out.print(f"  pytest {folder}", markup=False, soft_wrap=True)
    out.print(
        f"  alphapanda replay FILE --strategies-folder {folder} --strategy {name} --instrument NSE:INFY",
        markup=False,
        soft_wrap=True,
    )
    out.print(f"  ALPHAPANDA_STRATEGY__FOLDER={folder.resolve()} alphapanda up", markup=False, soft_wrap=True)


def write_strategy(name: str, folder: Path) -> tuple[Path, Path]:
    """Writes both files, or neither; returns where they are.

    Raises:
        InvalidInput: the name can't be a type's, is taken, or the folder can't be written to.
    """
    from alphapanda.strategy.core.registry import StrategyRegistry

    if not NAME.fullmatch(name) or name.startswith("test_"):
        raise InvalidInput("NAME", name, "allowed: lower case letters, digits and _, such as my_breakout")
    if name in StrategyRegistry().names:
        raise InvalidInput("NAME", name, "a name that no shipped strategy has")
    files = {folder / f"{name}.py": STRATEGY, folder / f"test_{name}.py": TEST}
    for path in files:
        if path.exists():
            raise InvalidInput("NAME", name, f"a new name: {path} is there already and stays as it is")
    words = {
        "CLASS": "".join(part.capitalize() for part in name.split("_")),
        "TITLE": name.replace("_", " ").capitalize(),
        "FOLDER": str(folder),
        "NAME=VALUE": "NAME=VALUE",
        "NAME": name,
    }
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in files.items():
            written.append(path)
            path.write_text(
                re.sub("|".join(words), lambda found: words[found[0]], template), encoding="utf-8"
            )
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise InvalidInput(
            "--folder", folder, f"a folder that can be written to ({error.strerror})"
        ) from None
    first, second = files
    return first, second
