"""Every statement of every store on 300,000 rows a table: none reads a table that grows from one end to the other.

The statements are found, not listed: whatever a module of the package makes with SQLAlchemy's `text`, as a constant, as
an attribute of a store or as a statement made from names, and what the instruments' store executes. One that is made in
a function has to be named in MADE_IN_FUNCTIONS with examples, or a test says so.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from inspect import getclosurevars, unwrap
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import TextClause, event, make_url, text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from alphapanda.app.tables import TABLES
from alphapanda.consuming.postgres_parking import PostgresParking
from alphapanda.contract.topics import TopicMap
from alphapanda.instruments.store.port import InstrumentFilter
from alphapanda.instruments.store.postgres import PostgresInstrumentStore
from alphapanda.paper_exchange.store.rows import look_ups_purge
from alphapanda.portfolio.store.discrepancies import page_of as page_of_discrepancies
from alphapanda.portfolio.store.statements import add_snapshot
from alphapanda.resilience.backoff import Backoff
from alphapanda.risk.store import statements as risk
from alphapanda.risk.store.port import VerdictFilter
from alphapanda.risk.store.statements import verdicts_purge
from alphapanda.storage.audit import NO_OUTCOME, AuditFilter, audit_purge, page_of
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.purging import outbox_purge, requests_purge
from alphapanda.storage.purging import statement as purge_statement
from alphapanda.storage.relay import OutboxRelay
from alphapanda.storage.requests import RequestMemory
from alphapanda.strategy.store import postgres as strategies
from alphapanda.strategy.store.postgres import ACTIVATIONS_PURGE
from alphapanda.trading.store import statements as trading
from alphapanda.trading.store.statements import tombstones_purge

ROWS = 300_000
MIDDLE = 150_000
PACKAGE = Path(__file__).resolve().parents[3] / "services" / "alphapanda"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = timedelta(days=7)

# Tables that don't grow with orders: a scan of one is as good as an index. The newest charges of a position key and scrip
# grow as positions do; tests/integration/portfolio/test_plans.py has them grown.
SMALL = {
    "accounts", "activations", "broker_accounts", "broker_routing", "charge_days", "charge_totals", "days", "dp_payers", "input_positions", "instrument_halts", "isins", "reconciled", "kill_switches", "limits", "order_inputs", "outside_units", "parked_keys",
    "parked_records", "partition_owners", "reconciliations", "rejections", "revisions", "revocations", "roles", "snapshots of strategy", "strategies", "strategy_totals", "trading_sessions", "user_roles", "users",
}  # fmt: skip

SERVICE_TABLES = {"outbox", "requests"}

# Statements that read more than they return, and why they may.
ALLOWED: dict[str, str] = {
    "AS exposed GROUP BY": "what is held or under way, asked once by a person's square-off",
    "sum(amount) AS amount FROM portfolio.ledger_entries": "the proof of the books adds up an account's whole ledger",
    "AS held, sum(CASE o.side": "a reconciliation adds up the paper exchange's whole journal, once after a repair or a restore",
    "count(*) FROM": "rows not published, which the relay keeps few; asked when a process ends and by lockstep",
}

# Functions that make a statement when they are called, and what they make; the empty ones are reached otherwise.
MADE_IN_FUNCTIONS: dict[str, Callable[[], Sequence[TextClause]]] = {
    "app/doctor_mesh.py": list,  # SELECT 1
    "app/health.py": list,  # SELECT 1
    "consuming/postgres_parking.py": list,  # attributes of PostgresParking; parked_ends is for a platform that is stopped
    "storage/purging.py": lambda: [
        text(purge_statement(purge))
        for purge in (
            *(
                make(schema, DAYS)
                for make in (requests_purge, outbox_purge)
                for schema in ("risk", "trading")
            ),
            verdicts_purge(DAYS),
            tombstones_purge(DAYS),
            look_ups_purge(DAYS),
            ACTIVATIONS_PURGE,
            audit_purge(DAYS),
        )
    ],
    "storage/audit.py": lambda: [
        page_of(wanted, before, 50)[0]
        for wanted in (
            AuditFilter(),
            AuditFilter(caller="k7"),
            AuditFilter(method="k7"),
            AuditFilter(outcome="OK"),
            AuditFilter(outcome=NO_OUTCOME),
            AuditFilter(correlation_id=str(sample(7))),
            AuditFilter(since=BEGAN, until=BEGAN),
            AuditFilter(caller="k7", method="k7", outcome="OK", since=BEGAN, until=BEGAN),
        )
        for before in (None, (BEGAN, MIDDLE))
    ],
    "portfolio/store/discrepancies.py": lambda: [
        page_of_discrepancies(broker, account, before, 50, include_resolved=resolved)[0]
        for broker, account in (("", ""), ("paper", "a0"))
        for before in (None, MIDDLE)
        for resolved in (False, True)
    ],
    "portfolio/store/statements.py": lambda: [add_snapshot(Outbox("portfolio", TopicMap(("paper",))))],
    "risk/store/statements.py": lambda: [
        risk.verdicts(wanted, before, 50)[0]
        for wanted in (
            VerdictFilter(),
            VerdictFilter(broker="paper", account="a0", approved=False),
            VerdictFilter(strategy_id="s7"),
            VerdictFilter(strategy_id="s7", approved=True),
            VerdictFilter(instrument_id="NSE:I7"),
            VerdictFilter(broker="paper", account="a0", since=BEGAN, until=BEGAN),
        )
        for before in (None, MIDDLE)
    ],
    "storage/outbox.py": list,  # attributes of Outbox; unpublished and purge are one-off questions on partial indexes
    "storage/outbox_history.py": list,  # indexes for a start; the others are for a platform that is stopped
    "storage/recordset.py": list,  # what is made from names
    "storage/relay.py": list,  # attributes of OutboxRelay
    "storage/requests.py": list,  # attributes of RequestMemory
    "strategy/store/postgres.py": lambda: [
        text(f"{strategies._CURRENT} WHERE {condition} ORDER BY strategy_id LIMIT :limit")
        for condition in ("strategy_id > :after", "strategy_id > :after AND s.state = 1")
    ],
    "trading/store/statements.py": lambda: [
        trading.newest(),
        trading.newest("broker", "account"),
        trading.newest("strategy_id"),
        trading.changed(),
        trading.held("broker", "account"),
        trading.newest_protections(live_only=True),
        trading.newest_protections("broker", "account", live_only=False),
    ],
}

BY_NAME: Mapping[str, Any] = {
    "broker": "paper", "account": "a0", "strategy_id": "s7", "instrument_id": "NSE:I7", "limit": 50, "most": 50,
    "caller": "k7", "method": "k7", "request_id": "k7", "topic": "k7", "tag": "k7", "consumer": "k7",
    "before": MIDDLE, "after": ROWS - 50, "seq": MIDDLE, "number": MIDDLE, "product": 1, "cause": 1, "status": 8,
    "after_strategy": "s7", "after_instrument": "NSE:I7", "after_product": 1, "since": BEGAN + timedelta(seconds=ROWS - 50),
    "start": BEGAN + timedelta(seconds=ROWS - 50), "until": BEGAN + timedelta(seconds=ROWS), "count": 0,
    "end": BEGAN + timedelta(seconds=ROWS), "brokers": ["paper"], "any_status": True, "entries_before": BEGAN,
    "exits_before": BEGAN, "published_before": BEGAN, "last_started_at": BEGAN + timedelta(seconds=MIDDLE), "last_number": MIDDLE,
    "outcome": "k7",
}  # fmt: skip
"""Values by a parameter's name; others by its type."""


def sample(n: int) -> UUID:
    """The uuid of the n-th row of each table."""
    return UUID(int=n)


def by_type(kind: str) -> Any:
    """Something of a type."""
    if kind.endswith("[]"):
        return [by_type(kind.removesuffix("[]"))]
    return {
        "uuid": sample(MIDDLE), "int2": 1, "int4": 1, "int8": 1, "numeric": Decimal(1), "timestamptz": BEGAN,
        "date": BEGAN.date(), "bool": False, "bytea": b"k7", "json": "[]", "jsonb": "[]",
    }.get(kind, "k7")  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """A statement in the driver's words, the names of its parameters in order, and their values where they are known."""

    where: str
    sql: str
    names: tuple[str, ...]
    values: tuple[Any, ...] | None = None


def compiled(where: str, clause: TextClause) -> Statement:
    made = clause.compile(dialect=PGDialect_asyncpg())  # type: ignore[no-untyped-call]
    return Statement(where, str(made), tuple(made.positiontup or ()))


# -- finding them ---------------------------------------------------------------------------------------------------


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Modules that make statements with `text`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "migrations" in path.parts or path.name.endswith("tables.py"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(
            isinstance(node, ast.ImportFrom)
            and node.module == "sqlalchemy"
            and any(alias.name == "text" for alias in node.names)
            for node in ast.walk(tree)
        ):
            yield path.relative_to(PACKAGE).as_posix(), tree


def in_value(value: Any) -> Iterator[TextClause]:
    """The statements that a value is, holds, or makes of names."""
    if isinstance(value, TextClause):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from in_value(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from in_value(one)
    elif hasattr(value, "cache_info") and hasattr(value, "__wrapped__"):
        held = getclosurevars(unwrap(value)).nonlocals
        names = held.get("parts") or held.get("filters")
        if isinstance(names, Mapping):
            yield value(*names)
            if "filters" in held:
                yield value()
                for name in names:
                    yield value(name)


def statements() -> list[Statement]:
    """All that are made with `text`."""
    topics, none = TopicMap(("paper",)), None
    made: list[tuple[str, Any]] = []
    for path, _ in sources():
        module = import_module(f"alphapanda.{path.removesuffix('.py').replace('/', '.')}")
        made += [(path, value) for value in vars(module).values()]
        made += [(path, clause) for clause in MADE_IN_FUNCTIONS.get(path, list)()]
    for schema in ("risk", "trading", "portfolio", "strategy"):
        outbox = Outbox(schema, topics)
        relay = OutboxRelay(
            engine=none,  # type: ignore[arg-type]
            outbox=outbox,
            log=none,  # type: ignore[arg-type]
            batch_size=100,
            backoff=Backoff(0.1, 1.0),
        )
        made += [
            (schema, value) for one in (outbox, relay, RequestMemory(schema)) for value in vars(one).values()
        ]
        if schema != "strategy":
            made += [(schema, value) for value in vars(PostgresParking(none, schema)).values()]  # type: ignore[arg-type]
    made.append(("risk", vars(risk)))
    saving = import_module("alphapanda.risk.store.unit").DecisionWriter(Outbox("risk", topics))
    made += [("risk", value) for value in vars(saving).values()]
    found = {
        found.sql: found
        for where, value in made
        for clause in in_value(value)
        for found in [compiled(where, clause)]
    }
    return list(found.values())


def test_a_statement_made_in_a_function_is_known() -> None:
    """Whoever makes one where no constant shows it names it here with examples."""

    def inside(node: ast.AST, *, function: bool = False) -> Iterator[int]:
        for child in ast.iter_child_nodes(node):
            within = function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            if (
                function
                and isinstance(child, ast.Call)
                and isinstance(child.func, ast.Name)
                and child.func.id == "text"
            ):
                yield child.lineno
            yield from inside(child, function=within)

    unknown = [
        f"{path}:{line}" for path, tree in sources() if path not in MADE_IN_FUNCTIONS for line in inside(tree)
    ]
    assert not unknown, f"name them in MADE_IN_FUNCTIONS: {unknown}"


# -- the rows -------------------------------------------------------------------------------------------------------


def is_small(schema: str, table: str) -> bool:
    if table in SERVICE_TABLES and schema != "risk":
        return True  # alike in every schema, and asked alike: risk's stand for all
    return table in SMALL or f"{table} of {schema}" in SMALL


SPECIAL: Mapping[str, str] = {
    "broker": "'paper'", "account": "'a' || n % 20", "strategy_id": "'s' || n % 500",
    "instrument_id": "'NSE:I' || n % 3000",
    "exchange": "'NSE'", "tradingsymbol": "'I' || n", "final": "n % 1000 <> 0", "approved": "n % 10 <> 0",
    "published_at": "CASE WHEN n % 1000 = 0 THEN NULL ELSE moment END",
    "waiting": "NULL", "waiting_signal_id": "NULL", "cost": "0", "filled": "0", "until_day": "NULL", "side": "1",
    "open_signal_id": "CASE WHEN n % 1000 = 0 THEN identity END", "ledger_account": "n % 5 + 1",
    "revision": "n", "sequence": "n", "account_revision": "n", "amount": "n", "cause": "2", "epoch": "0",
    "instrument_token": "n", "product": "n % 3 + 1", "trading_day": "date '2026-01-01' + n / 1000", "order_type": "1",
    "effect": "1", "ended_because": "''", "user_name": "'u' || n % 3000", "rotation": "0",
}  # fmt: skip
"""What a column holds in the n-th row; others by their type."""
OF_DISCREPANCIES: Mapping[str, str] = {
    "state": "CASE WHEN n % 1000 = 0 THEN 1 ELSE 3 END",
    "resolution": "CASE WHEN n % 1000 = 0 THEN 0 ELSE 1 END",
    "resolved_at": "CASE WHEN n % 1000 = 0 THEN NULL ELSE moment END",
}
"""Few are left; the others are over."""


def cell(schema: str, table: str, column: str, kind: str) -> str:
    if column == "status" and kind == "smallint":
        value = "CASE WHEN n % 1000 = 0 THEN 2 ELSE 8 END"
    elif column == "quantity":
        held = "CASE WHEN n % 1000 = 0 THEN 10 ELSE 0 END" if table == "positions" else "10"
        value = f"CASE WHEN {'n % 10 <> 0' if table == 'verdicts' else 'true'} THEN {held} END"
    elif column == "instrument_id" and (table == "positions" or schema == "instruments"):
        value = "'NSE:I' || n"  # each of them once
    elif column == "ended_at" and schema == "auth":
        value = "NULL"  # sessions live
    elif table == "note_corrections" and column == "day":
        value = "date '2026-01-01' + n / 1000"
    elif table == "discrepancies" and column in OF_DISCREPANCIES:
        value = OF_DISCREPANCIES[column]
    elif column in SPECIAL:
        value = SPECIAL[column]
    elif kind.endswith("[]"):
        value = f"CAST('{{}}' AS {kind})"
    else:
        value = {
            "uuid": "identity",
            "smallint": "1",
            "integer": "1",
            "bigint": "n",
            "boolean": "true",
            "date": "date '2026-01-01'",
            "timestamp with time zone": "moment",
            "bytea": "convert_to('k' || n, 'UTF8')",
            "jsonb": "CAST('[]' AS jsonb)",
            "json": "CAST('[]' AS json)",
        }.get(kind, "1" if kind.startswith("numeric") else "'k' || n")
    return value


NUMBERED = f"""
CREATE TEMPORARY TABLE numbered ON COMMIT DROP AS
SELECT n, CAST(lpad(to_hex(n), 32, '0') AS uuid) AS identity, timestamptz '2026-01-01Z' + n * interval '1 second' AS moment
FROM generate_series(1, {ROWS}) AS n"""
"""What the n-th row of a table is made of."""
NOT_KEPT = "UPDATE pg_index SET indisready = false WHERE indrelid = CAST(CAST($1 AS text) AS regclass)"
"""Until REINDEX makes them, a table's indexes aren't kept row by row, which takes three times as long."""


async def fill(connection: asyncpg.Connection) -> None:
    """ROWS rows in each table that grows; foreign keys and triggers look away."""
    await connection.execute("SET session_replication_role = replica; SET maintenance_work_mem = '256MB'")
    growing = [
        (str(metadata.schema), table)
        for metadata in TABLES
        for table in metadata.sorted_tables
        if not is_small(str(metadata.schema), table.name)
    ]
    async with connection.transaction():
        # What is empty since this transaction is written without a log.
        await connection.execute(f"TRUNCATE {', '.join(table.fullname for _, table in growing)} CASCADE")
        await connection.execute(NUMBERED)
        for schema, table in growing:
            kinds = {
                row["attname"]: row["kind"]
                for row in await connection.fetch(
                    "SELECT attname, format_type(atttypid, atttypmod) AS kind FROM pg_attribute"
                    " WHERE attrelid = CAST(CAST($1 AS text) AS regclass) AND attnum > 0 AND NOT attisdropped"
                    " AND attidentity = ''",
                    table.fullname,
                )
            }
            cells = [cell(schema, table.name, name, kind) for name, kind in kinds.items()]
            await connection.execute(NOT_KEPT, table.fullname)
            await connection.execute(
                f"INSERT INTO {table.fullname} ({', '.join(kinds)}) SELECT {', '.join(cells)} FROM numbered"
            )
            await connection.execute(f"REINDEX TABLE {table.fullname}")
    await connection.execute("SET session_replication_role = origin")
    await connection.execute("ANALYZE")


# -- the plans ------------------------------------------------------------------------------------------------------


def scans(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "Relation Name" in plan:
        yield plan
    for inner in plan.get("Plans", ()):
        yield from scans(inner)


WRITES = re.compile(
    r"\b(INSERT|UPDATE|DELETE|pg_notify|nextval|pg_try_advisory_lock|pg_advisory\w*)\b(?!\s+OF)"
)


async def problems(connection: asyncpg.Connection, statement: Statement) -> list[str]:
    """What is wrong with a statement's plan; nothing where it can't have one."""
    if re.match(r"\s*(LOCK|SET)\b", statement.sql):
        return []
    changes = WRITES.search(statement.sql.replace("FOR UPDATE", "")) is not None
    explain = f"EXPLAIN (FORMAT JSON{'' if changes else ', ANALYZE'}) {statement.sql}"
    prepared = await connection.prepare(explain)
    values = statement.values
    if values is None:
        kinds = [kind.name for kind in prepared.get_parameters()]
        values = tuple(value_of(name, kind) for name, kind in zip(statement.names, kinds, strict=True))
    transaction = connection.transaction()
    await transaction.start()
    try:
        [[told]] = await prepared.fetch(*values)
    finally:
        await transaction.rollback()
    [explained] = json.loads(told)
    returned = explained["Plan"].get("Actual Rows", 0)
    found = []
    for scan in scans(explained["Plan"]):
        if is_small(
            scan.get("Schema", schema_of(statement.sql, scan["Relation Name"])), scan["Relation Name"]
        ):
            continue
        loops = scan.get("Actual Loops", 1)
        examined = loops * (scan.get("Actual Rows", 0) + scan.get("Rows Removed by Filter", 0))
        if scan["Node Type"] == "Seq Scan" and loops:
            found.append(f"scans {scan['Relation Name']}")
        elif examined > 50 * (returned + 50):
            found.append(f"reads {examined:.0f} rows of {scan['Relation Name']} for {returned}")
    return found


def schema_of(sql: str, table: str) -> str:
    found = re.search(rf"(\w+)\.{table}\b", sql)
    return found[1] if found else ""


def value_of(name: str, kind: str) -> Any:
    name = name.removeprefix("outbox_")
    if name in BY_NAME:
        value = BY_NAME[name]
        if kind == "timestamptz" and not isinstance(value, datetime):
            return BEGAN + timedelta(seconds=ROWS - 50)
        if kind.endswith("[]") and not isinstance(value, list):
            return [value]
        if kind in ("text", "varchar") and not isinstance(value, str):
            return str(value)
        if kind in ("uuid", "int2"):
            return by_type(kind)
        return value
    return by_type(kind)


@pytest.fixture
async def filled(tables: str) -> Any:
    """A database whose tables have grown."""
    dsn = make_url(tables).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    await fill(connection)
    yield connection, tables
    await connection.close()


async def of_instruments(url: str) -> list[Statement]:
    """What the instruments' store executes: its statements are expressions, put together as it is asked."""
    seen: dict[str, Statement] = {}
    engine = open_engine(url, 1)

    def remember(_connection: Any, _cursor: Any, sql: str, values: Any, _context: Any, many: bool) -> None:
        if not many and not sql.startswith(("LOCK", "UPDATE", "INSERT")):
            seen.setdefault(sql, Statement("instruments", sql, (), tuple(values)))

    event.listen(engine.sync_engine, "before_cursor_execute", remember)
    store = PostgresInstrumentStore(engine)
    await store.by_id("NSE:I7")
    await store.by_token(7)
    await store.by_symbol("NSE", "I7")
    await store.page(InstrumentFilter(), None, 50)
    await store.page(InstrumentFilter(), ("NSE", "I7", "NSE:I7"), 50)
    await store.token_history(7)
    await engine.dispose()
    return list(seen.values())


async def test_no_statement_scans_what_grows(filled) -> None:
    """Rows examined stay near the rows returned, and no table that grows with orders is read from end to end."""
    connection, url = filled
    found: dict[str, list[str]] = {}
    every = [*statements(), *await of_instruments(url)]
    for statement in every:
        if any(part in statement.sql for part in ALLOWED):
            continue
        try:
            wrong = await problems(connection, statement)
        except asyncpg.PostgresError as error:
            wrong = [f"can't be explained: {type(error).__name__}: {error}"]
        if wrong:
            found[f"{statement.where}: {' '.join(statement.sql.split())[:400]}"] = wrong
    assert len(every) > 100
    assert not found, "\n".join(f"{', '.join(wrong)}\n    {sql}" for sql, wrong in found.items())
