"""YAML as nodes, which know their lines; what can't be read is told in one."""

from __future__ import annotations

import yaml


class NoYaml(ValueError):
    """The text is no YAML; the message is one line with line and column."""


def yaml_root(text: str) -> yaml.Node | None:
    """The root of a YAML document; None where it is empty.

    Raises:
        NoYaml: it can't be read.
    """
    try:
        root: yaml.Node | None = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (at line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise NoYaml(f"{error.problem}{where}") from None
    except yaml.YAMLError as error:  # a character that YAML hasn't
        raise NoYaml(" ".join(str(error).split())) from None
    return root


def yaml_mapping(node: yaml.MappingNode) -> dict[str, yaml.Node]:
    """Its values by name.

    Raises:
        NoYaml: a key is no single value, or stands there twice: which of its values was meant, nobody knows.
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
