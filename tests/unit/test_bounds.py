"""Nothing grows without bound: BOUNDS.md names what can grow, and what ends it. What it names is held to the program."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from alphapanda.app.tables import TABLES
from alphapanda.auth.store.broker_statements import trading_sessions_purge
from alphapanda.auth.store.statements import REVOCATIONS_PURGE, sessions_purge
from alphapanda.contract.topics import payload_policies
from alphapanda.paper_exchange.store.rows import look_ups_purge
from alphapanda.risk.store.statements import verdicts_purge
from alphapanda.settings.model import Settings
from alphapanda.storage.audit import audit_purge
from alphapanda.storage.purging import outbox_purge, requests_purge
from alphapanda.strategy.store.postgres import ACTIVATIONS_PURGE
from alphapanda.telemetry.gauges import GAUGES
from alphapanda.trading.store.statements import tombstones_purge
from panda.options.v1 import options_pb2 as options

PROGRAM = Path(__file__).parents[2] / "services" / "alphapanda"
PAGE = (PROGRAM.parent / "BOUNDS.md").read_text()
NOT_LONG_LIVED = {"commands", "replay", "settings", "contract", "telemetry"}
"""Folders whose objects live for a command, a run or a start, or are listed as a whole."""

EMPTY = {"dict", "set", "list", "defaultdict", "deque", "Counter", "OrderedDict"}
KEEP = timedelta(1)
PURGES = [
    ACTIVATIONS_PURGE,
    audit_purge(KEEP),
    verdicts_purge(KEEP),
    look_ups_purge(KEEP),
    tombstones_purge(KEEP),
    REVOCATIONS_PURGE,
    sessions_purge(KEEP),
    trading_sessions_purge(KEEP),
    requests_purge("auth", KEEP),
    *(
        made(service, KEEP)
        for service in ("strategy", "risk", "trading", "portfolio", "instruments")
        for made in (requests_purge, outbox_purge)
    ),
]


def rows(heading: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def names(cell: str) -> list[str]:
    """What a cell names in code."""
    return re.findall(r"`([^`]+)`", cell)


def test_every_table_has_a_line() -> None:
    """Each table of the metadata is named once, and no other."""
    listed = [name for what, *_ in rows("Tables") for name in names(what)]
    assert sorted(listed) == sorted(
        f"{table.schema}.{table.name}" for one in TABLES for table in one.tables.values()
    )


def test_the_tables_said_to_be_purged_are_purged() -> None:
    """A setting of the retention stands beside exactly the tables that a service's purging deletes from."""
    said = {name for what, _, end in rows("Tables") if "purged" in end for name in names(what)}
    assert said == {purge.table for purge in PURGES}


def test_every_topic_has_a_line_with_its_retention() -> None:
    """Each topic of the contract is named once, beside the setting of its class."""
    kept = {
        options.RETENTION_SHORT: "topics.short_retention_hours",
        options.RETENTION_MEDIUM: "topics.medium_retention_hours",
        options.RETENTION_LONG: "topics.long_retention_hours",
        options.RETENTION_COMPACTED: "compacted",
    }
    listed = {name: end for what, end in rows("Topics") for name in names(what) if not name.endswith(".dlq")}
    policies = {policy.name: kept[policy.retention] for policy in payload_policies().values()}
    assert listed.keys() == policies.keys()
    assert [name for name, class_of in policies.items() if class_of not in listed[name]] == []


def containers() -> Iterator[str]:
    """The empty containers that objects of the services begin with, as "trading/lines.py _late"."""
    for path in sorted(PROGRAM.rglob("*.py")):
        inside = path.relative_to(PROGRAM)
        if inside.parts[0] in NOT_LONG_LIVED:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Assign | ast.AnnAssign)
                and node.value is not None
                and is_empty(node.value)
            ):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Attribute):
                        yield f"{inside} {target.attr}"


def is_empty(value: ast.expr) -> bool:
    if isinstance(value, ast.Dict | ast.List):
        return not (value.keys if isinstance(value, ast.Dict) else value.elts)
    bounded = isinstance(value, ast.Call) and any(one.arg == "maxlen" for one in value.keywords)
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id in EMPTY
        and not bounded
    )


def test_every_map_and_queue_has_a_line() -> None:
    """Whatever an object collects while the process runs is named beside what bounds it."""
    listed = {
        f"{file} {name}" for where, what, _ in rows("Memory") for file in names(where) for name in names(what)
    }
    assert sorted(set(containers()) - listed) == []
    assert sorted(listed - set(containers())) == []


def test_every_setting_and_constant_exists() -> None:
    """What is said to bound something is a field of the settings, or stands in the file that is named."""
    for section, name in re.findall(r"`([a-z_]+)\.([a-z_]+)`", PAGE):
        if section in Settings.model_fields and f"{section}.{name}" not in {
            f"{table.schema}.{table.name}" for one in TABLES for table in one.tables.values()
        }:
            assert name in type(getattr(Settings(), section)).model_fields, f"{section}.{name}"
    found = re.findall(r"`([A-Z_]+)` of `([a-z_/]+\.py)`", PAGE)
    assert found
    for constant, file in found:
        assert re.search(rf"^{constant}\b.*=", (PROGRAM / file).read_text(), re.MULTILINE), (
            f"{constant} of {file}"
        )


def test_a_cache_without_a_bound_is_asked_about_the_program_only() -> None:
    """Functions that remember all their answers are those of messages, statements and their shapes."""
    unbounded = {
        str(path.relative_to(PROGRAM))
        for path in PROGRAM.rglob("*.py")
        if re.search(
            r"@(functools\.)?cache$|lru_cache\(maxsize=None|lru_cache\(None", path.read_text(), re.MULTILINE
        )
    }
    assert unbounded == {
        "contract/validation.py",
        "portfolio/store/statements.py",
        "storage/recordset.py",
        "trading/store/statements.py",
    }


def test_no_label_grows_with_what_is_traded_or_asked_for() -> None:
    """The labels of the metrics are those of the page; another one needs a line that says what bounds its values."""
    program = ast.parse((PROGRAM / "telemetry/metrics.py").read_text())
    recorded = (
        argument
        for call in ast.walk(program)
        if isinstance(call, ast.Call)
        for argument in call.args[1:2]
        if isinstance(argument, ast.Dict)
    )
    labels = {key.value for one in recorded for key in one.keys if isinstance(key, ast.Constant)}
    labels |= {label for gauge in GAUGES for label in gauge.labels}
    assert labels == {name for what, _ in rows("Labels of metrics") for name in what.split(", ")}
