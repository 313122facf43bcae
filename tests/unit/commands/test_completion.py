from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from alphapanda.cli import COMMANDS, main
from alphapanda.commands.completion import PROGRAM, VARIABLE


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home folder in which nothing is set."""
    for name in ("XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    return tmp_path


def install(*shell: str):
    return CliRunner().invoke(main, ["--install-completion", *shell])


def completed(*words: str) -> list[str]:
    """What the last of these words is completed to."""
    *args, incomplete = words
    shell = BashComplete(main, {}, PROGRAM, VARIABLE)
    return [item.value for item in shell.get_completions(list(args), incomplete)]


@pytest.mark.parametrize(
    ("shell", "script", "start"),
    [
        ("bash", ".config/alphapanda/completion.bash", ".bashrc"),
        ("zsh", ".config/alphapanda/completion.zsh", ".zshrc"),
        ("fish", ".config/fish/completions/alphapanda.fish", None),
    ],
)
def test_a_shell_loads_the_script_at_its_start(home, shell, script, start) -> None:
    """The script is written and, but for fish, loaded by one line of the start file, which keeps what it had."""
    if start is not None:
        (home / start).write_text("alias l=ls")
    result = install(shell)
    assert result.exit_code == 0, result.output
    assert str(home / script) in result.stdout
    assert VARIABLE in (home / script).read_text()
    if start is not None:
        assert (home / start).read_text() == f"alias l=ls\nsource {home / script}\n"


def test_a_second_installation_adds_no_line(home) -> None:
    """The start file is as after the first one."""
    install("zsh")
    first = (home / ".zshrc").read_text()
    assert install("zsh").exit_code == 0
    assert (home / ".zshrc").read_text() == first


def test_without_a_name_it_is_for_the_shell_in_use(home) -> None:
    """$SHELL says which."""
    assert install().exit_code == 0
    assert (home / ".bashrc").exists()


def test_another_shell_is_refused(home, monkeypatch) -> None:
    """A shell that can't be served is named with those that can; nothing is written."""
    result = install("tcsh")
    assert result.exit_code == 2
    assert result.stderr.startswith("alphapanda: --install-completion: 'tcsh' is not allowed")
    assert "bash, fish, zsh" in result.stderr
    monkeypatch.delenv("SHELL")
    assert install().exit_code == 2
    assert list(home.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(home) -> None:
    """One line says what stands in the way."""
    (home / ".config").touch()
    result = install("fish")
    assert result.exit_code == 2
    assert str(home / ".config") in result.stderr


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("ord",), ["orders"]),
        (
            ("orders", ""),
            [
                "list",
                "show",
                "fills",
                "place",
                "square-off",
                "modify",
                "cancel",
                "cancel-all",
                "protections",
                "unprotect",
            ],
        ),
        (("orders", "place", "NSE:INFY", "--prod"), ["--product"]),
        (("orders", "--sta"), ["--status"]),
        (("orders", "list", "--status", "partially"), ["partially_filled"]),
        (("positions", "--tar"), ["--target"]),
        (("buy", ""), list(COMMANDS)),
        (("--inst",), ["--install-completion"]),
    ],
    ids=" ".join,
)
def test_words_are_completed(monkeypatch, words, found) -> None:
    """Commands, options and values; settings are not read for it, so that wrong ones are in nobody's way."""
    monkeypatch.setenv("ALPHAPANDA_NO_SUCH__SETTING", "1")
    assert completed(*words) == found


def test_an_empty_word_is_completed_to_every_command() -> None:
    """All of them, in the order of the help."""
    assert completed("") == list(COMMANDS)


def test_a_real_bash_completes(home) -> None:
    """Bash with the installed script asks the program and gets its commands."""
    install("bash")
    program = home / "alphapanda"
    program.write_text(f"#!{sys.executable}\nfrom alphapanda.cli import main\nmain(prog_name='alphapanda')\n")
    program.chmod(0o755)
    script = (
        "source ~/.bashrc; COMP_WORDS=(alphapanda risk kill); COMP_CWORD=2;"
        ' _alphapanda_completion alphapanda; echo "${COMPREPLY[@]}"'
    )
    told = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=os.environ | {"PATH": f"{home}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "kill-switch"
    assert told.stderr == ""
