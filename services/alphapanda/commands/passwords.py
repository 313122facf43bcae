"""Asks for a password: from a file, from the terminal, never on the command line, where others could read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alphapanda.commands.console import USAGE, fail

password_file_option = click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="file with the password in its first line; - is the standard input  [default: asked for]",
)


def password_of(file: Path | None, prompt: str, *, twice: bool = False) -> str:
    """The password of a file's first line, else asked for on the terminal; where neither is possible the command ends."""
    if file is None:
        try:
            given: Any = click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
        except click.Abort:
            fail("no password was given; name a file with --password-file", USAGE)
        return str(given)
    try:
        with click.open_file(str(file), encoding="utf-8") as opened:
            password = str(opened.readline()).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--password-file {file}: {getattr(error, 'strerror', None) or 'is no text'}", USAGE)
    if not password:
        fail(f"--password-file {file}: its first line is empty", USAGE)
    return password
