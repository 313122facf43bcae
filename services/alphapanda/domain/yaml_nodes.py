"""Parses YAML into nodes, which have line numbers, so that errors name line and column."""

from __future__ import annotations

import yaml


class NoYaml(ValueError):
    """The text isn't valid YAML; the message is one line with line and column."""


def yaml_root(text: str) -> yaml.Node | None:
    """The root node of a YAML document; None if it is empty.

    Raises:
        NoYaml: the text isn't valid YAML.
    """
    try:
        root: yaml.Node | None = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (at line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise NoYaml(f"{error.problem}{where}") from None
    except yaml.YAMLError as error:  # a character that YAML doesn't allow
        raise NoYaml(" ".join(str(error).split())) from None
    return root


def yaml_mapping(node: yaml.MappingNode) -> dict[str, yaml.Node]:
    """The values of a mapping by key.

    Raises:
        NoYaml: a key isn't a scalar, or occurs twice.
    """
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        where = f"at line {key.start_mark.line + 1}, column {key.start_mark.column + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise NoYaml(f"a name is expected ({where})")
        if key.value in found:
            raise NoYaml(f"{key.value!r} is there twice ({where})")
        found[key.value] = value
    return found
