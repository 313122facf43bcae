"""Reads limits for the account, strategies and instruments from a TOML or YAML file.

```toml
[account]
max_daily_loss = 5000
[strategies.ema_cross]
max_order_quantity = 10
[instruments."NSE:INFY"]
max_position_value = "off"
[strategies.ema_cross.instruments."NSE:INFY"]
max_order_quantity = 5
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.yaml_nodes import NoYaml, yaml_mapping, yaml_root
from alphapanda.risk.core.named_limits import named_limit
from alphapanda.risk.core.scoped_limits import LimitScope, ScopedLimits, SetLimit

_TABLES: Final = ("account", "strategies", "instruments")
_READS: Final = "a readable TOML (.toml) or YAML (.yaml, .yml) file"


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A value as text, and its line; 0 if the parser doesn't report lines (TOML)."""

    text: str
    line: int = 0


_Tree = Mapping[str, "_Tree | _Leaf"]


def read_limits(file: Path, strategies: Collection[str], directory: InstrumentDirectory) -> ScopedLimits:
    """Reads the limits of one account.

    Args:
        file: TOML or YAML, by its suffix.
        strategies: ids of strategies that the file may name.
        directory: instruments that the file may name by their symbols.

    Raises:
        InvalidInput: it can't be read, or has an unknown name or a wrong value; the error names file, line and field.
    """
    rows = []
    for path, leaf in _leaves(_read(file), ()):
        where = f"{file}{f':{leaf.line}' if leaf.line else ''}: {'.'.join(path)}"
        scope = _scope(path, where, strategies, directory)
        limit = named_limit(path[-1], where)
        scope.require(limit, where)
        limit.parse(leaf.text, where)
        rows.append(SetLimit(scope, limit, leaf.text, author=str(file)))
    return (
        ScopedLimits(1, tuple(sorted(rows, key=lambda row: (row.scope, row.name))))
        if rows
        else ScopedLimits()
    )


def _scope(
    path: tuple[str, ...], where: str, strategies: Collection[str], directory: InstrumentDirectory
) -> LimitScope:
    match path:
        case ("account", _):
            return LimitScope()
        case ("strategies", strategy_id, _):
            return LimitScope(_strategy(strategy_id, where, strategies))
        case ("instruments", symbol, _):
            return LimitScope("", directory.require_symbol(symbol, where).instrument_id)
        case ("strategies", strategy_id, "instruments", symbol, _):
            known = _strategy(strategy_id, where, strategies)
            return LimitScope(known, directory.require_symbol(symbol, where).instrument_id)
        case (top, *_) if top not in _TABLES:
            raise UnknownName(where, top, _TABLES)
        case _:
            raise InvalidInput(
                where,
                path[-1],
                "limits under account, strategies.ID, instruments.SYMBOL or strategies.ID.instruments.SYMBOL",
            )


def _strategy(name: str, where: str, known: Collection[str]) -> str:
    if name not in known:
        raise UnknownName(where, name, known)
    return name


def _leaves(tree: _Tree, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], _Leaf]]:
    for name, value in tree.items():
        path = (*above, name)
        if isinstance(value, _Leaf):
            yield path, value
        else:
            yield from _leaves(value, path)


def _read(file: Path) -> _Tree:
    try:
        text = file.expanduser().read_text(encoding="utf-8")
        match file.suffix:
            case ".toml":
                return {
                    name: _from_toml(value) for name, value in tomllib.loads(text, parse_float=str).items()
                }
            case ".yaml" | ".yml":
                root = yaml_root(text)
                return _table(root, file) if root is not None else {}
            case _:
                raise InvalidInput("--limits", file, _READS)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, NoYaml) as error:
        raise InvalidInput("--limits", file, f"{_READS} ({error})") from None


def _from_toml(value: object) -> _Tree | _Leaf:
    if isinstance(value, dict):
        return {name: _from_toml(one) for name, one in value.items()}
    return _Leaf(str(value))


def _table(node: yaml.Node, file: Path) -> _Tree:
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        raise InvalidInput(f"{file}:{line}", type(node).__name__, "a table of limits")
    return {
        name: (
            _Leaf(value.value, value.start_mark.line + 1)
            if isinstance(value, yaml.ScalarNode)
            else _table(value, file)
        )
        for name, value in yaml_mapping(node).items()
    }
