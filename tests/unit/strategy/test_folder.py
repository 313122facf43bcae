"""A user's own strategies: loaded by path, reported where they can't be, run by replay; and written to begin with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from alphapanda.cli import main
from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.core.registry import SHIPPED
from alphapanda.strategy.folder import registry_with

README = Path(__file__).parents[3] / "services" / "alphapanda" / "strategy" / "README.md"
EXAMPLE = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
CLOSES = [100, 101, 102, 101, 103, 99, 104, 105, 90, 91, 106]


@pytest.fixture(autouse=True)
def outside(tmp_path, monkeypatch):
    """No `.env` of the folder the tests run in."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bars(tmp_path) -> Path:
    rows = [f"2024-01-15 09:{15 + n}:00,{c},{c},{c},{c},100" for n, c in enumerate(CLOSES)]
    file = tmp_path / "bars.csv"
    file.write_text("\n".join(["datetime_ist,open,high,low,close,volume", *rows]) + "\n", encoding="utf-8")
    return file


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def replayed(bars, folder, *arguments):
    command = ["replay", str(bars), "--instrument", "NSE:INFY", "--product", "CNC", "--json"]
    return CliRunner().invoke(main, [*command, "--strategies-folder", str(folder), *arguments])


def test_every_example_of_the_readme_is_a_whole_file(tmp_path) -> None:
    """Each Python example in the README is loaded from a folder as it is printed."""
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    folder = write(tmp_path / "mine", **{f"example_{n}": text for n, text in enumerate(examples)})
    bad = []
    registry = registry_with(folder, bad.append)
    assert bad == []
    assert {"high_water", "careful"} <= set(registry.names)


def test_the_readmes_example_trades_in_a_replay(bars, tmp_path) -> None:
    """The example as printed, in a file outside the package: its signals are those a person computes."""
    folder = write(tmp_path / "mine", high_water=EXAMPLE)
    result = replayed(bars, folder, "--strategy", "high_water", "-p", "bars=3")
    assert result.exit_code == 0, result.output
    stances = [close > max([0, *CLOSES[max(0, n - 3) : n]][-3:]) for n, close in enumerate(CLOSES)]
    changes = [stances[0], *(now != before for before, now in pairwise(stances))]
    summary = json.loads(result.stdout)
    assert summary["signals"] == summary["fills"] + summary["held"] == sum(changes) > 4
    assert len([line for line in EXAMPLE.splitlines() if line]) <= 15


def test_a_file_that_cannot_be_used_is_reported_and_the_others_load(tmp_path) -> None:
    """File, line and error of each; shipped types and good files are there."""
    folder = write(
        tmp_path / "mine",
        a_good=EXAMPLE,
        b_syntax="x = 1\ndef broken(:\n",
        c_raises="import json\n\njson.loads('{')\n",
        d_import="import no_such_module_at_all\n",
        e_exits="import sys\n\n\nsys.exit(3)\n",
        f_empty="x = 1\n",
        g_clash=EXAMPLE.replace("high_water", "ema_cross"),
        h_twice=EXAMPLE,
        i_name=EXAMPLE.replace('"high_water"', '"High Water"'),
        j_model=EXAMPLE.replace('"high_water", Parameters', '"j", int'),
        k_default=EXAMPLE.replace("Field(20, ge", "Field(ge").replace('"high_water"', '"k"'),
        _aid="raise SystemExit",
        test_mine="raise SystemExit",
    )
    bad = []
    registry = registry_with(folder, bad.append)
    assert set(registry.names) == {"high_water", *(each.type_name for each in SHIPPED)}
    told = {each.path.name: each.text.removeprefix(f"{folder}/") for each in bad}
    assert list(told) == [f"{name}.py" for name in (
        "b_syntax", "c_raises", "d_import", "e_exits", "f_empty", "g_clash", "h_twice", "i_name", "j_model", "k_default",
    )]  # fmt: skip
    assert told["b_syntax.py"].startswith("b_syntax.py:2: SyntaxError")
    assert told["c_raises.py"].startswith("c_raises.py:3: JSONDecodeError")
    assert (
        told["d_import.py"] == "d_import.py:1: ModuleNotFoundError: No module named 'no_such_module_at_all'"
    )
    assert told["e_exits.py"] == "e_exits.py:4: SystemExit: 3"
    assert "defines no Strategy" in told["f_empty.py"]
    assert re.search(
        r"g_clash.py:\d+: the type name 'ema_cross' is taken by .*ema_cross.py", told["g_clash.py"]
    )
    assert re.search(
        r"h_twice.py:\d+: the type name 'high_water' is taken by .*a_good.py", told["h_twice.py"]
    )
    assert "type_name is 'High Water'" in told["i_name.py"]
    assert "parameters_model is <class 'int'>" in told["j_model.py"]
    assert "can't be built from their defaults" in told["k_default.py"]


def test_a_folder_that_is_not_there_is_bad_input(tmp_path, bars) -> None:
    """The setting is named; replay says so in one line."""
    with pytest.raises(InvalidInput, match=r"strategy\.folder: .*nowhere"):
        registry_with(tmp_path / "nowhere", lambda _: None)
    result = replayed(bars, tmp_path / "nowhere", "--strategy", "ema_cross")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1


def test_replay_tells_of_bad_files_and_of_a_strategy_that_raises(bars, tmp_path) -> None:
    """On standard error, a line each; the answer is still JSON."""
    raising = EXAMPLE.replace(
        "        highest =", "        raise ValueError(f'{bar.close} is odd')\n        highest ="
    )
    folder = write(tmp_path / "mine", good=raising, bad="import nothing_like_it\n")
    result = replayed(bars, folder, "--strategy", "high_water")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["signals"] == 0
    first, _, second = result.stderr.strip().splitlines()  # between them, what the file was recognised as
    assert first.endswith("bad.py:1: ModuleNotFoundError: No module named 'nothing_like_it'")
    assert second.endswith(
        "strategy high_water was stopped: 5 errors in a row on NSE:INFY: ValueError: 103.0 is odd"
    )


def test_the_setting_names_the_folder_too(bars, tmp_path, monkeypatch) -> None:
    """Without the option the setting counts."""
    monkeypatch.setenv("ALPHAPANDA_STRATEGY__FOLDER", str(write(tmp_path / "mine", high_water=EXAMPLE)))
    command = ["replay", str(bars), "--instrument", "NSE:INFY", "--strategy", "high_water", "--json"]
    assert CliRunner().invoke(main, command).exit_code == 0


def test_a_new_strategy_passes_its_own_test_and_replays(bars, tmp_path) -> None:
    """What new-strategy writes works as it stands."""
    folder = tmp_path / "mine"
    result = CliRunner().invoke(main, ["new-strategy", "my_breakout", "--folder", str(folder)])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir()) == ["my_breakout.py", "test_my_breakout.py"]
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert tested.returncode == 0, tested.stdout
    result = replayed(bars, folder, "--strategy", "my_breakout", "-p", "bars=3")
    assert json.loads(result.stdout)["fills"] > 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My-Breakout", "lower case letters"),
        ("rsi", "no shipped strategy has"),
        ("test_it", "lower case letters"),
        ("there", "is there already"),
    ],
)
def test_a_name_that_cannot_be_taken_writes_nothing(name, words, tmp_path) -> None:
    """Neither file is written, nor is anything overwritten."""
    folder = write(tmp_path / "mine", test_there="mine")
    result = CliRunner().invoke(main, ["new-strategy", name, "--folder", str(folder)])
    assert result.exit_code == 2
    assert words in result.stderr
    assert [path.name for path in folder.iterdir()] == ["test_there.py"]
    assert (folder / "test_there.py").read_text(encoding="utf-8") == "mine"
