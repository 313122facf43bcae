"""The walls between the rooms, read from the source: what ruff can't say is said here.

Each wall is a function from one module to its violations. Each is tried on the whole package and on planted breaks.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
from alembic.script import ScriptDirectory

PACKAGE = Path(__file__).resolve().parents[2] / "services" / "alphapanda"
ROOMS = (
    "marketdata",
    "instruments",
    "strategy",
    "risk",
    "trading",
    "portfolio",
    "auth",
    "ops",
    "paper_exchange",
)

# -- what the walls allow, in one place -------------------------------------------------------------------------------

IMPURE_MODULES = (
    "aiokafka", "alembic", "asyncio", "asyncpg", "google", "grpc", "io", "kiteconnect", "logging", "opentelemetry",
    "os", "panda", "pathlib", "psutil", "redis", "secrets", "socket", "sqlalchemy", "sqlite3", "structlog",
    "subprocess", "tempfile", "threading", "time",
)  # fmt: skip
SHELLS = re.compile(
    r"^alphapanda\.((app|cli|settings|consuming|contract|embedded|eventlog|kite|mesh|resilience|storage|telemetry)(\.|$)|\w+\.(api|consumer|store)(\.|$))"
)
CLOCK_OR_CHANCE = re.compile(
    r"^(datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today|uuid\.uuid[14]|random\.(?!Random$)\w+|open|input)$"
)

# Everything that talks to the outside, by the name it is constructed with, and where that may happen besides app.py.
ADAPTERS = {
    r"(\w*Settings)(\.\w+)?": tuple(
        f"settings/{name}.py" for name in ("model", "consumers", "logs", "sources")
    ),
    r"sqlalchemy\.ext\.asyncio\.create_async_engine": ("storage/engine.py",),
    r"asyncpg\.(connect|create_pool)": ("embedded/postgres.py", "storage/listen.py"),
    r"redis(\.asyncio)?\.Redis(\.from_url)?": ("embedded/redis.py",),
    r"redis(\.asyncio)?\.from_url": (),
    r"grpc\.aio\.server": ("mesh/server.py",),
    r"grpc\.aio\.(in)?secure_channel": ("mesh/channel.py", "commands/call.py"),
    r"kiteconnect\.Kite(Connect|Ticker)": ("kite/client.py",),
    r"aiokafka\.AIOKafka(Producer|Consumer)": ("eventlog/kafka/client.py",),
    r"(\w*EventLog)(\.\w+)?": (),
    r"(Embedded(Postgres|Redis))(\.\w+)?": ("embedded/directory.py",),
    r"DataDirectory(\.\w+)?": (),
    r"((Postgres|Sql|Redis)\w*(Store|Cache|Repository|Journal))(\.\w+)?": (),
}

BLIND_ALLOWED = (
    "cli.py",
    "consuming/consumer.py",
    "resilience/attempts.py",
    "strategy/core/isolator.py",
    "strategy/user_file.py",
)

TASKS_STARTED = {
    "ops/backups.py": "every request for the backup awaits it",
    "app/bound.py": "awaited there",
    "app/waiting.py": "awaited there",
    "app/feeding.py": "its end is logged, the service's state and what ends `up`",
    "commands/call.py": "awaited there",
    "commands/kite_callback.py": "its failure ends the wait for what it reads",
    "commands/stopping.py": "awaited there",
    "commands/watch.py": "awaited there",
    "commands/live/following.py": "of a task group",
    "consuming/consumer.py": "a batch: its failure stops the partition with an alarm",
    "embedded/supervisor.py": "its end ends `up`",
    "eventlog/kafka/client.py": "awaited there",
    "eventlog/kafka/fetching.py": "awaited there",
    "eventlog/kafka/publisher.py": "awaited there",
    "eventlog/sqlite/log.py": "a write: its failure is every waiting caller's",
    "kite/ticker.py": "awaited there",
    "marketdata/feeds/recording.py": "a failure ends the recording with an alarm",
    "marketdata/feeds/recording_folder.py": "a failure ends the recording with an alarm",
    "marketdata/publisher.py": "awaited there",
    "mesh/effects.py": "a command: its failure is its caller's, or logged",
    "mesh/renewing.py": "awaited when the channel is closed",
    "ops/api.py": "awaited there",
    "resilience/budgets.py": "awaited there, or given up with its caller's TimeoutError",
    "resilience/rounds.py": "a bug is an alarm and the service's state",
    "resilience/tasks.py": "begins again",
    "storage/group_commit.py": "a group: its failure is its callers'",
    "storage/relay.py": "begins again",
    "trading/inquiry.py": "asks again",
    "trading/lines.py": "orders under way: their failure is their batch's, or a look-up follows",
    "trading/manual.py": "begins again",
    "trading/order_changes.py": "tries again",
    "trading/traders/isolation.py": "its failure is the broker's problem, and tried again",
}
"""Where tasks are started, and why none of them ends without a word. Long-lived work is kept_running."""

_TOPIC = (
    r"signals\.(raw|validated|rejected)|orders\.(submitted|filled|failed|cancelled)"
    r"|market\.ticks|portfolio\.snapshots|control\.(strategies|killswitch)"
)
TOPIC = re.compile(rf"^(\{{?\w*\}}?\.)?({_TOPIC})(\.dlq)?$|^\{{\w*\}}\.(signals|orders|portfolio)\.")


# -- reading a module -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Module:
    """One source file: its path below the package, the nodes of its tree, and what its imported names stand for."""

    path: PurePosixPath
    nodes: Sequence[ast.AST]
    names: dict[str, str]

    @classmethod
    def parse(cls, path: str, source: str) -> Module:
        nodes = [*ast.walk(ast.parse(source))]
        names: dict[str, str] = {}
        for node in nodes:
            if isinstance(node, ast.Import):
                names |= {
                    a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0]
                    for a in node.names
                }
            elif isinstance(node, ast.ImportFrom):
                names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        return cls(PurePosixPath(path), nodes, names)

    @property
    def is_core(self) -> bool:
        parts = self.path.parts
        return parts[-1] == "core.py" or "core" in parts[:-1] or parts[0] == "domain"

    @property
    def name(self) -> str:
        return ".".join(("alphapanda", *self.path.with_suffix("").parts)).removesuffix(".__init__")

    @property
    def is_root(self) -> bool:
        return self.path.parts[0] in {"app.py", "app"}

    def imports(self) -> Iterator[tuple[int, str]]:
        """Each imported module, and each name imported from one, dotted."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)

    def calls(self) -> Iterator[tuple[int, str]]:
        """Each call by its dotted name, aliases resolved; a call on an expression has none and is left out."""
        for node in self.nodes:
            if isinstance(node, ast.Call) and (dotted := self.dotted(node.func)):
                yield node.lineno, dotted

    def dotted(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Name):
            return self.names.get(node.id, node.id)
        if isinstance(node, ast.Attribute) and (owner := self.dotted(node.value)):
            return f"{owner}.{node.attr}"
        return None

    def strings(self) -> Iterator[tuple[int, str]]:
        """Each string that isn't a docstring; an f-string with its holes as `{name}`."""
        prose = {
            id(node.value)
            for node in self.nodes
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in self.nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                yield node.lineno, node.value
            elif isinstance(node, ast.JoinedStr):
                parts = (str(part.value) if isinstance(part, ast.Constant) else "{x}" for part in node.values)
                yield node.lineno, "".join(parts)


# -- the walls --------------------------------------------------------------------------------------------------------

Wall = Callable[[Module], Iterator[str]]


def cores_are_pure(module: Module) -> Iterator[str]:
    """A core knows no I/O, no clock, no chance, no logger, no await, no protobuf and no shell."""
    if not module.is_core:
        return
    for line, name in module.imports():
        if name.split(".")[0] in IMPURE_MODULES or SHELLS.match(name):
            yield f"{line}: imports {name}"
    for line, name in module.calls():
        if CLOCK_OR_CHANCE.match(name):
            yield f"{line}: calls {name}"
    for node in module.nodes:
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"{node.lineno}: waits"


def adapters_are_built_by_the_root(module: Module) -> Iterator[str]:
    """Settings and adapters are constructed in app.py and handed on."""
    if module.is_root:
        return
    for line, name in module.calls():
        for pattern, allowed in ADAPTERS.items():
            if re.search(rf"(^|\.)({pattern})$", name) and str(module.path) not in allowed:
                yield f"{line}: constructs {name}"


def topics_come_from_descriptors(module: Module) -> Iterator[str]:
    """A topic's name is written in the contract and nowhere else."""
    for line, text in module.strings():
        if TOPIC.search(text):
            yield f"{line}: spells the topic {text!r}"


def nothing_prints(module: Module) -> Iterator[str]:
    """Services log, the command line has its console."""
    for line, name in module.calls():
        if name == "print":
            yield f"{line}: prints"


def nothing_is_caught_blindly(module: Module) -> Iterator[str]:
    """Who catches everything raises it again, but for the command line's edge, the reliable consumer and what runs a strategy's own code."""
    if str(module.path) in BLIND_ALLOWED:
        return
    for node in module.nodes:
        if isinstance(node, ast.ExceptHandler) and _is_blind(node.type) and not _raises_again(node):
            yield f"{node.lineno}: catches everything"
        elif isinstance(node, ast.Call) and module.dotted(node.func) == "contextlib.suppress":
            yield from (f"{node.lineno}: suppresses everything" for arg in node.args if _is_blind(arg))


def _is_blind(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    if isinstance(caught, ast.Tuple):
        return any(_is_blind(element) for element in caught.elts)
    return isinstance(caught, ast.Name) and caught.id in {"Exception", "BaseException"}


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def stores_are_private(module: Module) -> Iterator[str]:
    """A room's tables are read by that room alone."""
    room = module.path.parts[0]
    if room not in ROOMS:
        return
    for line, name in module.imports():
        if (found := re.match(r"^alphapanda\.(\w+)\.store(\.|$)", name)) and found[1] != room:
            yield f"{line}: reads the store of {found[1]}"


def settings_are_handed_down(module: Module) -> Iterator[str]:
    """Settings are read by app and commands; every other part has options of its own and knows no settings."""
    if module.is_root or module.path.parts[0] in {"commands", "settings"}:
        return
    for line, name in module.imports():
        if re.match(r"^alphapanda\.settings(\.|$)", name):
            yield f"{line}: imports {name}"


OPENED_WITH = {
    r"(.*\.)?Redis\.from_url": {"socket_timeout", "socket_connect_timeout"},
    r"(.*\.)?create_async_engine": {"pool_timeout", "connect_args"},
    r"(.*\.)?AIOKafka\w+": {"**"},
}
"""What a client is opened with, so that no library's default time-out decides anything; `**`: a dictionary of options."""


def no_default_time_out_decides(module: Module) -> Iterator[str]:
    """A client of another system is opened with time-outs of ours (rule 14)."""
    for node in module.nodes:
        if isinstance(node, ast.Call) and (name := module.dotted(node.func)):
            given = {keyword.arg or "**" for keyword in node.keywords}
            for opened, needed in OPENED_WITH.items():
                if re.fullmatch(opened, name) and (missing := needed - given):
                    yield f"{node.lineno}: opens {name} without {', '.join(sorted(missing))}"


TRANSACTION = {"begin", "unit", "transaction"}
OTHER_SYSTEM = re.compile(
    r"^_?(redis|views?|prices|cache|mirror|log|broker_client|rest|stub|channel|trading|traders?|exchange|market)$"
)


def transactions_wait_for_postgres_alone(module: Module) -> Iterator[str]:
    """Inside a database transaction nothing is awaited of Redis, a log, a broker or another service (rule 14)."""
    methods = {n.name: n for n in module.nodes if isinstance(n, ast.AsyncFunctionDef)}

    def awaited(node: ast.AST, seen: frozenset[str]) -> Iterator[tuple[int, str]]:
        for found in ast.walk(node):
            if not isinstance(found, ast.Await) or not isinstance(found.value, ast.Call):
                continue
            name = module.dotted(found.value.func) or ""
            owners = [] if name.startswith("alphapanda.") else name.split(".")[:-1]
            if any(OTHER_SYSTEM.match(owner) for owner in owners):
                yield found.lineno, name
            elif (own := name.removeprefix("self.")) in methods and own not in seen:
                yield from (
                    (found.lineno, f"{name}, which awaits {deeper}")
                    for _, deeper in awaited(methods[own], seen | {own})
                )

    for node in module.nodes:
        if isinstance(node, ast.AsyncWith) and any(
            _opens_a_transaction(item.context_expr) for item in node.items
        ):
            for statement in node.body:
                yield from (
                    f"{line}: awaits {name} in a transaction"
                    for line, name in awaited(statement, frozenset())
                )


def _opens_a_transaction(opened: ast.expr) -> bool:
    return (
        isinstance(opened, ast.Call)
        and isinstance(opened.func, ast.Attribute)
        and opened.func.attr in TRANSACTION
    )


def no_process_is_one_broker_s(module: Module) -> Iterator[str]:
    """A process serves all active brokers: the topic and the envelope name the broker, never a setting of the process."""
    for node in module.nodes:
        names = (getattr(node, name, None) for name in ("id", "attr", "arg", "name", "value"))
        if any(isinstance(name, str) and "broker_namespace" in name.lower() for name in names):
            yield f"{getattr(node, 'lineno', 0)}: speaks of a broker namespace"


def tasks_do_not_end_silently(module: Module) -> Iterator[str]:
    """Long-lived work goes through resilience.tasks.kept_running; other tasks are listed with who learns of their end."""
    if module.path.as_posix() in TASKS_STARTED:
        return
    for node in module.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if name in {"create_task", "ensure_future"}:
                yield f"{node.lineno}: starts a task of which nobody may learn that it ended"


WALLS: tuple[Wall, ...] = (
    tasks_do_not_end_silently,
    cores_are_pure,
    adapters_are_built_by_the_root,
    topics_come_from_descriptors,
    nothing_prints,
    nothing_is_caught_blindly,
    stores_are_private,
    no_process_is_one_broker_s,
    settings_are_handed_down,
    transactions_wait_for_postgres_alone,
    no_default_time_out_decides,
)

PLANTED: tuple[tuple[Wall, str, str], ...] = (
    (tasks_do_not_end_silently, "risk/api.py", "import asyncio\ntask = asyncio.create_task(run())"),
    (tasks_do_not_end_silently, "risk/api.py", "task = asyncio.get_running_loop().create_task(run())"),
    (cores_are_pure, "risk/core.py", "import asyncio"),
    (cores_are_pure, "risk/core/limits.py", "from time import monotonic"),
    (cores_are_pure, "domain/money.py", "from panda.common.v1 import common_pb2"),
    (cores_are_pure, "domain/money.py", "from google.protobuf import message"),
    (cores_are_pure, "domain/money.py", "import os.path"),
    (cores_are_pure, "trading/core.py", "from alphapanda.trading.store import TradingStore"),
    (cores_are_pure, "trading/core.py", "from alphapanda.settings.model import TradingSettings"),
    (cores_are_pure, "domain/calendar.py", "from datetime import UTC, datetime\nnow = datetime.now(tz=UTC)"),
    (cores_are_pure, "domain/calendar.py", "import datetime as dt\nday = dt.date.today()"),
    (cores_are_pure, "domain/order.py", "from uuid import uuid4\nkey = uuid4()"),
    (cores_are_pure, "marketdata/core.py", "import random\nstep = random.gauss(0, 1)"),
    (cores_are_pure, "strategy/core.py", "async def decide(): ..."),
    (
        adapters_are_built_by_the_root,
        "risk/api.py",
        "from alphapanda.settings.model import Settings\ns = Settings()",
    ),
    (
        adapters_are_built_by_the_root,
        "risk/api.py",
        "from alphapanda.settings import model\ns = model.Settings.load()",
    ),
    (
        adapters_are_built_by_the_root,
        "cli.py",
        "from alphapanda.settings.model import RiskSettings\ns = RiskSettings()",
    ),
    (
        adapters_are_built_by_the_root,
        "risk/store.py",
        "import sqlalchemy.ext.asyncio as sa\ne = sa.create_async_engine('x')",
    ),
    (
        adapters_are_built_by_the_root,
        "marketdata/store.py",
        "from redis.asyncio import Redis\nr = Redis.from_url('x')",
    ),
    (
        adapters_are_built_by_the_root,
        "risk/consumer.py",
        "from alphapanda.eventlog.sqlite.log import SqliteEventLog\nlog = SqliteEventLog('x')",
    ),
    (
        adapters_are_built_by_the_root,
        "risk/consumer.py",
        "from alphapanda.risk.store import PostgresRiskStore\nstore = PostgresRiskStore('x')",
    ),
    (topics_come_from_descriptors, "risk/consumer.py", "topic = 'market.ticks'"),
    (topics_come_from_descriptors, "risk/consumer.py", "topic = 'paper.signals.raw'"),
    (topics_come_from_descriptors, "risk/consumer.py", "topic = broker + '.orders.filled'"),
    (topics_come_from_descriptors, "risk/consumer.py", "topic = f'{broker}.signals.validated.dlq'"),
    (topics_come_from_descriptors, "risk/consumer.py", "topic = f'{broker}.orders.{kind}'"),
    (nothing_prints, "ops/api.py", "print('x')"),
    (nothing_is_caught_blindly, "ops/api.py", "try:\n    f()\nexcept Exception:\n    g()"),
    (
        nothing_is_caught_blindly,
        "ops/api.py",
        "try:\n    f()\nexcept (ValueError, BaseException) as e:\n    raise X from e",
    ),
    (nothing_is_caught_blindly, "ops/api.py", "try:\n    f()\nexcept:\n    g()"),
    (
        nothing_is_caught_blindly,
        "ops/api.py",
        "import contextlib\nwith contextlib.suppress(Exception):\n    f()",
    ),
    (stores_are_private, "risk/consumer.py", "from alphapanda.trading.store import TradingStore"),
    (stores_are_private, "risk/consumer.py", "from alphapanda.trading import store"),
    (stores_are_private, "risk/consumer.py", "import alphapanda.portfolio.store as books"),
    (settings_are_handed_down, "risk/api.py", "from alphapanda.settings.services import RiskSettings"),
    (settings_are_handed_down, "telemetry/logs.py", "from alphapanda import settings"),
    (settings_are_handed_down, "eventlog/kafka/log.py", "import alphapanda.settings.connections as how"),
    (
        settings_are_handed_down,
        "strategy/core/bars.py",
        "def late():\n    from alphapanda.settings import model",
    ),
    (
        transactions_wait_for_postgres_alone,
        "risk/decision_service.py",
        (
            "class Decisions:\n    async def decide(self):\n        async with self._store.unit('paper', 'default') as unit:\n"
            "            await self.market()\n    async def market(self):\n        return await self._views.view(())"
        ),
    ),
    (
        transactions_wait_for_postgres_alone,
        "trading/executor.py",
        "async def send(self):\n    async with self._engine.begin() as connection:\n        await self._trader.place(1)",
    ),
    (
        transactions_wait_for_postgres_alone,
        "portfolio/consumer.py",
        "async def book(self):\n    async with store.transaction() as t:\n        await self._log.publish([])",
    ),
    (
        no_default_time_out_decides,
        "app/resources.py",
        "from redis.asyncio import Redis\nr = Redis.from_url('x', socket_timeout=1)",
    ),
    (
        no_default_time_out_decides,
        "storage/engine.py",
        "import sqlalchemy.ext.asyncio as sa\ne = sa.create_async_engine('x', pool_timeout=1)",
    ),
    (
        no_default_time_out_decides,
        "eventlog/kafka/log.py",
        "import aiokafka\nc = aiokafka.AIOKafkaConsumer('t')",
    ),
    (no_process_is_one_broker_s, "settings/model.py", "broker_namespace: str = 'paper'"),
    (no_process_is_one_broker_s, "app/topics.py", "topic = settings.broker_namespace + '.x'"),
    (
        no_process_is_one_broker_s,
        "commands/serve.py",
        "@option('--broker-namespace', 'broker_namespace')\ndef f(): ...",
    ),
)

ALLOWED: tuple[tuple[str, str], ...] = (
    (
        "domain/calendar.py",
        '"""Hours of market.ticks."""\nfrom datetime import datetime, time\nt = time(9, 15)',
    ),
    (
        "marketdata/core.py",
        "import random\nimport numpy as np\nr = random.Random(7)\ng = np.random.default_rng(7)",
    ),
    ("app.py", "from alphapanda.settings.model import Settings\ns = Settings()"),
    ("settings/model.py", "class Settings: ...\ns = Settings()"),
    ("consuming/consumer.py", "try:\n    f()\nexcept Exception:\n    g()"),
    ("ops/api.py", "try:\n    f()\nexcept BaseException:\n    g()\n    raise"),
    (
        "risk/consumer.py",
        "from alphapanda.risk.store import RiskStore\nquery = 'select orders.filled_quantity'",
    ),
    ("app.py", "from alphapanda.trading.store import TradingStore"),
    ("app/options.py", "from alphapanda.settings.connections import KafkaSettings"),
    ("commands/up.py", "from alphapanda.settings.sources import load_settings"),
    (
        "risk/decision_service.py",
        (
            "async def decide(self):\n    market = await self._views.view(())\n"
            "    async with self._store.unit('paper') as unit:\n        await unit.save(market)\n        self._log.info('x')"
        ),
    ),
)


@pytest.fixture(scope="module")
def package() -> list[Module]:
    """Every module of the package, read once."""
    return [
        Module.parse(path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


@pytest.mark.parametrize("wall", WALLS, ids=lambda wall: wall.__name__)
def test_the_wall_stands(wall: Wall, package: Sequence[Module]) -> None:
    """No module of the package breaks the wall."""
    found = [f"{module.path}:{violation}" for module in package for violation in wall(module)]
    assert not found, f"{wall.__doc__}\n" + "\n".join(found)


@pytest.mark.parametrize(("wall", "path", "source"), PLANTED)
def test_a_planted_break_is_seen(wall: Wall, path: str, source: str) -> None:
    """The wall that should see the break sees it, so it can fail."""
    assert list(wall(Module.parse(path, source)))


@pytest.mark.parametrize(("path", "source"), ALLOWED)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    """No wall stands in the way of what the design asks for."""
    module = Module.parse(path, source)
    assert [violation for wall in WALLS for violation in wall(module)] == []


def _ways_to_impurity(package: Sequence[Module]) -> Iterator[str]:
    """For each core that reaches an impure module through others of the package, the way there."""
    modules = {module.name: module for module in package}
    for core in package:
        if not core.is_core:
            continue
        ways, reached = [(core.name,)], {core.name}
        while ways:
            way = ways.pop()
            for _, name in modules[way[-1]].imports():
                if name.split(".")[0] in IMPURE_MODULES:
                    yield " -> ".join((*way, name))
                ours = name if name in modules else name.rpartition(".")[0]
                if ours in modules and ours not in reached:
                    reached.add(ours)
                    ways.append((*way, ours))


def test_a_core_reaches_nothing_impure(package: Sequence[Module]) -> None:
    """Neither a core nor what it imports, however far, knows I/O, a clock or a logger."""
    found = list(_ways_to_impurity(package))
    assert not found, "\n".join(found)


def test_a_detour_to_the_impure_is_seen() -> None:
    """A core that reaches files through two harmless modules is found, with the way it takes."""
    package = [
        Module.parse("strategy/core/host.py", "from alphapanda.strategy.isolator import Isolated"),
        Module.parse("strategy/isolator.py", "from alphapanda.strategy import loading"),
        Module.parse("strategy/loading.py", "from pathlib import Path"),
    ]
    assert list(_ways_to_impurity(package)) == [
        "alphapanda.strategy.core.host -> alphapanda.strategy.isolator -> alphapanda.strategy.loading -> pathlib.Path"
    ]


def test_every_test_says_what_it_tests() -> None:
    """A test's docstring is a sentence that states the behaviour."""
    tests = PACKAGE.parents[1] / "tests"
    silent = [
        f"{path.relative_to(tests)}:{node.lineno}: {node.name}"
        for path in sorted(tests.rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if not ast.get_docstring(node)
    ]
    assert not silent, "\n".join(silent)


def test_migrations_are_one_line() -> None:
    """Each migration follows another, and one is the newest: two that were written side by side are told here."""
    folder = PACKAGE / "storage" / "migrations"
    assert len(ScriptDirectory(str(folder)).get_heads()) == 1


def test_no_migration_goes_back() -> None:
    """The way back is a backup: a migration that took columns of the books away would take money's history with them."""
    folder = PACKAGE / "storage" / "migrations"
    assert not [
        path.name for path in folder.rglob("*.py") if "def downgrade" in path.read_text(encoding="utf-8")
    ]
    assert "downgrade" not in (folder / "script.py.mako").read_text(encoding="utf-8")


def test_the_walls_see_the_package(package: Sequence[Module]) -> None:
    """There are cores to be kept pure: an empty search would pass every wall."""
    assert any(module.is_core for module in package)
