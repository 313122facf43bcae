"""Creates strategies from a YAML file, in a service that never had one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from google.protobuf.json_format import ParseDict, ParseError
from structlog.typing import FilteringBoundLogger

from alphapanda.contract.validation import violations
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.size import units_or_size
from alphapanda.domain.yaml_nodes import NoYaml, yaml_mapping, yaml_root
from alphapanda.strategy.api import StrategyServicer
from alphapanda.strategy.configurations import NO_QUANTITY
from alphapanda.strategy.store.port import Change, StrategyStore
from panda.strategy.v1 import strategy_pb2 as api

_ROWS: Final = "strategies"
_ALLOWED: Final = "a YAML file with a list named strategies"


@dataclass(frozen=True, slots=True)
class StrategyRow:
    """A strategy in the file.

    Attributes:
        file: the file.
        line: first line of the row.
        create: the request that creates the strategy.
        start: whether to start it.
        error: why the row can't be used; empty if it can.
    """

    file: Path
    line: int
    create: api.CreateStrategyRequest
    start: bool
    error: str = ""


def read_strategies(file: Path) -> list[StrategyRow]:
    """Reads the file's rows; each has the fields of CreateStrategyRequest, and `start` (default true).

    Raises:
        InvalidInput: the file can't be read, or holds no list of strategies.
    """
    try:
        root = yaml_root(file.expanduser().read_text(encoding="utf-8"))
        if not isinstance(root, yaml.MappingNode):
            raise InvalidInput("strategy.yaml", file, _ALLOWED)
        found = yaml_mapping(root)
    except (OSError, UnicodeDecodeError, NoYaml) as error:
        raise InvalidInput("strategy.yaml", file, f"{_ALLOWED} ({error})") from None
    for name in found:
        if name != _ROWS:
            raise InvalidInput("strategy.yaml", file, f"{_ALLOWED}; it has {name!r} too")
    rows = found.get(_ROWS)
    if not isinstance(rows, yaml.SequenceNode):
        raise InvalidInput("strategy.yaml", file, _ALLOWED)
    return [_row(file, node) for node in rows.value]


class StrategyFallback:
    """Creates and starts a file's strategies, if the service never had a strategy.

    A row that can't be used is logged with file and line. The others are created in one transaction: a process that
    dies leaves all of them or none, and of two processes that start at once one creates them.

    Args:
        rows: what `read_strategies` returned.
        store: strategy's store.
        service: makes the first revisions.
        logger: logs what was created and what couldn't be.
    """

    def __init__(
        self,
        rows: Sequence[StrategyRow],
        store: StrategyStore,
        service: StrategyServicer,
        logger: FilteringBoundLogger,
    ) -> None:
        self._rows = rows
        self._store = store
        self._service = service
        self._logger = logger

    async def start(self) -> None:
        """Creates the strategies, once."""
        if not self._rows:
            return
        if await self._store.current():
            self._logger.info("strategy.file_ignored", reason="STRATEGIES_EXIST")
            return
        changes: dict[str, Change] = {}
        for row in self._rows:
            change, error = self._change(row)
            if change is not None and change.strategy.config.strategy_id in changes:
                change, error = None, f"strategy_id: {row.create.strategy_id!r} is in the file twice"
            if change is None:
                self._logger.error("strategy.creation_failed", error=f"{row.file}:{row.line}: {error}")
            else:
                changes[change.strategy.config.strategy_id] = change
        if await self._store.seed(list(changes.values())):
            for strategy_id in changes:
                self._logger.info("strategy.created", strategy_id=strategy_id)

    async def stop(self) -> None:
        """Does nothing."""

    def _change(self, row: StrategyRow) -> tuple[Change | None, str]:
        if row.error:
            return None, row.error
        try:
            return self._service.first_revision(row.create, running=row.start), ""
        except InvalidInput as error:
            return None, str(error)


def _row(file: Path, node: yaml.Node) -> StrategyRow:
    line = node.start_mark.line + 1
    request = api.CreateStrategyRequest()
    values = yaml.safe_load(yaml.serialize(node))
    if not isinstance(values, dict):
        return StrategyRow(
            file, line, request, start=False, error=f"{values!r} is not a strategy; give its fields"
        )
    start = values.pop("start", True)
    if not isinstance(start, bool):
        return StrategyRow(
            file, line, request, start=False, error=f"start: {start!r} is not allowed; true or false"
        )
    if isinstance(values.get("product"), str):
        values["product"] = f"PRODUCT_{values['product']}"
    quantity = values.get("quantity")
    if isinstance(quantity, str):
        try:
            values["quantity"], values["size"] = units_or_size(quantity, "quantity")
        except InvalidInput as error:
            return StrategyRow(file, line, request, start=False, error=str(error))
    if isinstance(values.get("parameters"), dict):
        values["parameters"] = {str(name): _text(value) for name, value in values["parameters"].items()}
    try:
        ParseDict(values, request)
    except ParseError as error:
        return StrategyRow(file, line, request, start=False, error=str(error))
    request.request_id = f"yaml-create-{request.strategy_id}"[:64]
    wrong = [f"{each.field}: {each.message}" for each in violations(request)]
    if not request.quantity and not request.size:
        wrong.append(f"quantity: {NO_QUANTITY}")
    broken = "; ".join(wrong)
    return StrategyRow(file, line, request, start=start, error=broken)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
