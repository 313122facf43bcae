"""The options of all commands, as click has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import click

from alphapanda import cli


def every_command(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, each with its words."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from every_command(below, (*path, name))


def test_no_command_has_an_option_twice() -> None:
    """An option's name means one thing in a command: two of a name would shadow each other, and click warns on every call."""
    twice = {
        words: names
        for words, command in every_command(cli.main)
        if (
            names := [
                name
                for name, times in Counter(
                    name for parameter in command.params for name in parameter.opts
                ).items()
                if times > 1
            ]
        )
    }
    assert twice == {}
