"""A strategy's parameters as written on the command line: `-p name=value`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from alphapanda.domain.errors import InvalidInput

parameters_option = click.option(
    "-p", "--parameter", "parameters", multiple=True, metavar="K=V", help="a parameter; repeat it"
)


def parsed_parameters(pairs: Sequence[str]) -> dict[str, str]:
    """Parameters from `name=value` texts.

    Raises:
        InvalidInput: one without "=", or a name given twice.
    """
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidInput("-p", pair, "allowed: name=value")
        if name in parameters:
            raise InvalidInput("-p", pair, f"{name} is given twice")
        parameters[name] = value
    return parameters
