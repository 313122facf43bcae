"""Shell completion of commands, options and values: installs the script that click generates."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

from alphapanda.domain.errors import InvalidInput, UnknownName

PROGRAM: Final = "alphapanda"
VARIABLE: Final = "_ALPHAPANDA_COMPLETE"
"""Environment variable by which the script asks for completions and names its shell."""

SHELLS: Final = ("bash", "zsh", "fish")
ZSH_NEEDS: Final = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"
"""Loads compdef, which the script for zsh calls, where .zshrc has not loaded it."""


def install_completion(
    cli: click.Command, shell: str, environ: Mapping[str, str], home: Path
) -> tuple[Path, ...]:
    """Writes a shell's completion script and loads it from the shell's start file; repeating it changes nothing.

    Fish finds the script by itself; bash and zsh get a line in ~/.bashrc and .zshrc.

    Args:
        cli: the program.
        shell: bash, zsh or fish; empty: the one that $SHELL names.
        environ: the process environment.
        home: the user's home folder.

    Returns:
        The files that were written, the script first.

    Raises:
        InvalidInput: the shell is none of these, or a file can't be written.
    """
    name = shell or Path(environ.get("SHELL", "")).name
    made = get_completion_class(name) if name in SHELLS else None
    if made is None:
        raise UnknownName("--install-completion", name, SHELLS)
    config = _folder(environ.get("XDG_CONFIG_HOME", ""), home / ".config")
    text = made(cli, {}, PROGRAM, VARIABLE).source()
    try:
        if name == "fish":
            return (_written(config / "fish" / "completions" / f"{PROGRAM}.fish", text),)
        script = _written(
            config / PROGRAM / f"completion.{name}", f"{ZSH_NEEDS}{text}" if name == "zsh" else text
        )
        start = home / ".bashrc" if name == "bash" else _folder(environ.get("ZDOTDIR", ""), home) / ".zshrc"
        return (script, start) if _loads(start, script) else (script,)
    except OSError as error:
        raise InvalidInput("--install-completion", name, f"{error.filename}: {error.strerror}") from None


def _folder(named: str, otherwise: Path) -> Path:
    """A folder named by the environment; a relative one is ignored, as the XDG specification requires."""
    return Path(named) if Path(named).is_absolute() else otherwise


def _written(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def _loads(start: Path, script: Path) -> bool:
    """Adds a line that loads the script to a shell's start file; False where the line exists already."""
    line = f"source {shlex.quote(str(script))}"
    before = start.read_text(encoding="utf-8") if start.exists() else ""
    if line in before.splitlines():
        return False
    separator = "" if not before or before.endswith("\n") else "\n"
    with start.open("a", encoding="utf-8") as file:
        file.write(f"{separator}{line}\n")
    return True
