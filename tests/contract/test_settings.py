"""Settings are what their catalogue says: listed in `.env.example`, described, and read by some code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from alphapanda.app.groups import GROUPS
from alphapanda.app.options import (
    call_bounds,
    consumer_options,
    kafka_options,
    logging_options,
    trading_options,
)
from alphapanda.consuming.options import ConsumerOptions
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.mesh.bounds import CallBounds
from alphapanda.risk.core.named_limits import NAMED_LIMITS
from alphapanda.settings.catalogue import Setting, catalogue, env_example, section_of, value_text
from alphapanda.settings.consumers import ConsumerOverrides, ConsumersSettings
from alphapanda.settings.model import Settings
from alphapanda.settings.section import PREFIX, Section
from alphapanda.settings.serving import MeshSettings
from alphapanda.settings.sources import load_settings
from alphapanda.telemetry.options import LogChannelOptions, LoggingOptions, LogRotation
from alphapanda.trading.options import TradingOptions

PACKAGE = Path(__file__).resolve().parents[2] / "services" / "alphapanda"

# What people and other programs count on where nobody has set anything.
DEFAULTS = {
    "environment": "development",
    "active_brokers": ("paper", "zerodha"),
    "kafka.bootstrap_servers": "localhost:9092",
    "kafka.client_id": "alpha-panda-client",
    "kafka.group_prefix": "alpha-panda",
    "paper_trading.enabled": True,
    "paper_trading.slippage_percent": Decimal("0.05"),
    "paper_trading.commission_percent": Decimal("0.1"),
    "paper_trading.starting_cash": Decimal(1_000_000),
    "zerodha.enabled": False,
    "portfolio_manager.snapshot_interval_seconds": 300.0,
    "portfolio_manager.reconciliation_interval_seconds": 3600.0,
    "health_checks.interval_seconds": 30.0,
    "health_checks.timeout_seconds": 5.0,
    "health_checks.redis_timeout_seconds": 5.0,
    "health_checks.database_timeout_seconds": 10.0,
    "health_checks.tick_max_age_seconds": 30.0,
    "health_checks.snapshot_max_age_seconds": 600.0,
    "health_checks.max_lag": 1000,
    "health_checks.max_latency_seconds": 1.0,
    "health_checks.grace_seconds": 30.0,
    "monitoring.metrics": True,
}
CHANNELS = ("trading", "audit", "performance", "api", "database", "market_data")
SECTIONS = (
    "database",
    "kafka",
    "redis",
    "paper_trading",
    "zerodha",
    "logging",
    *(f"logging.{channel}" for channel in CHANNELS),
    "reconnection",
    "portfolio_manager",
    "health_checks",
    "monitoring",
    "api",
    "embedded",
    "telemetry",
    "consumers.defaults",
    "topics",
    "marketdata",
    "strategy",
    "risk",
    "trading",
)
OPTIONS = {
    "KafkaSettings": KafkaOptions,
    "ConsumerSettings": ConsumerOptions,
    "TradingSettings": TradingOptions,
    "LoggingSettings": LoggingOptions,
    "LogChannelSettings": LogChannelOptions,
    "LogRotationSettings": LogRotation,
    "ApiSettings": CallBounds,
}
"""What a section is handed on as, where the part that reads it has options of its own (app/options.py)."""
CHANNEL_SETTINGS = {
    "enabled",
    "level",
    "max_megabytes",
    "rotate_hours",
    "keep_files",
    "keep_days",
    "compress_days",
}
CONSUMER_SETTINGS = {
    "bug_attempts",
    "bug_stop_percent",
    "bug_stop_least",
    "backoff_initial_seconds",
    "backoff_max_seconds",
    "breaker_failures",
    "breaker_seconds",
}


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items(), ids=DEFAULTS)
def test_a_default_is_what_was_promised(name: str, value: Any) -> None:
    """A setting that nobody sets has the value that documents and other programs were told."""
    held = attrgetter(name)(load_settings({}))
    assert (type(held), held) == (type(value), value)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_promised_section_is_there_and_read(section: str, modules: list[Module]) -> None:
    """The section has settings, and each of them is read by some code."""
    inside = [setting for setting in catalogue() if ".".join(setting.place[:-1]) == section]
    assert inside
    assert list(dead_settings(inside, modules)) == []


def test_each_channel_of_the_log_has_its_own_level_and_rotation() -> None:
    """Level, size, age and number of files can be set channel by channel."""
    for channel in CHANNELS:
        own = {setting.place[-1] for setting in catalogue() if setting.place[:-1] == ("logging", channel)}
        assert own == CHANNEL_SETTINGS


def test_each_consumer_has_its_own_way_with_failures() -> None:
    """Attempts, back-off and breaker can be set group by group, for every group of the deployment."""
    for group in GROUPS:
        place = ("consumers", group.replace(".", "_"))
        own = {setting.place[-1] for setting in catalogue() if setting.place[:-1] == place}
        assert own >= CONSUMER_SETTINGS


def test_the_example_is_what_the_settings_say(repo_root: Path) -> None:
    """`.env.example` is made of the settings and nothing else: `alphapanda settings --env-example > .env.example`."""
    written = (repo_root / ".env.example").read_text(encoding="utf-8")
    assert written == env_example(), "run `alphapanda settings --env-example > .env.example`"


def test_the_example_taken_whole_changes_nothing(tmp_path: Path) -> None:
    """With every # before a setting taken away the file still means the defaults."""
    marked = f"# {PREFIX}"
    taken = [
        line.removeprefix("# ") if line.startswith(marked) else line for line in env_example().splitlines()
    ]
    file = tmp_path / ".env"
    file.write_text("\n".join(taken))
    assert load_settings({}, dotenv=file) == load_settings({})


@pytest.mark.parametrize("setting", list(catalogue()), ids=lambda setting: setting.name)
def test_every_setting_says_what_it_does(setting: Setting) -> None:
    """Description, and what is allowed wherever not every text is."""
    assert setting.description
    assert setting.allowed or isinstance(setting.default, str)


def test_a_secret_is_never_a_default() -> None:
    """What may hold a password is empty until somebody sets it."""
    secrets = [setting for setting in catalogue() if setting.secret]
    assert {setting.name for setting in secrets} >= {"database.url", "redis.url"}
    assert all(value_text(setting.default) == "" for setting in secrets)


@dataclass(frozen=True)
class Module:
    """What a module says, as far as settings are concerned."""

    read: set[tuple[str, str]]  # (what it belongs to, name) of every `….name`
    imported: set[str]
    held: set[tuple[str, str]]  # (variable, section): `paper = settings.paper_trading`
    declared: set[tuple[str, str]]  # (variable, class): `paper: PaperTradingSettings`

    @classmethod
    def parse(cls, source: str) -> Module:
        nodes = list(ast.walk(ast.parse(source)))
        assigned = [(node.targets, node.value) for node in nodes if isinstance(node, ast.Assign)]
        annotated = [node for node in nodes if isinstance(node, ast.AnnAssign)]
        return cls(
            {(_last(node.value), node.attr) for node in nodes if isinstance(node, ast.Attribute)},
            {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names},
            {(_last(target), _last(value)) for targets, value in assigned for target in targets},
            {(_last(node.target), _last(node.annotation)) for node in annotated},
        )


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def dead_settings(settings: list[Setting], modules: list[Module]) -> Iterator[str]:
    """Settings that no module reads.

    A module reads `section.name` where it says `….section.name`, where it has a section in a variable
    (`paper = settings.paper_trading`, `paper.name`), or where it imports the section's class, to be handed one, and
    says `….name`; where something of any module is declared to be the section (`paper: PaperTradingSettings`), by
    that name. Settings without a section are read as `settings.name`. A limit that a risk rule declares is read with all of
    them (app/limits.py), and by that rule.
    """
    declared = {pair for module in modules for pair in module.declared}
    limits = {("risk", limit.setting) for limit in NAMED_LIMITS.values()}
    for setting in settings:
        if setting.place in limits:
            continue
        *sections, name = setting.place
        section, classes = sections[-1] if sections else "settings", _classes_of(tuple(sections))
        known = {section, f"_{section}"} | {who for who, what in declared if what in classes}
        if not any(
            {(who, name) for who in known | {who for who, what in module.held if what == section}}
            & module.read
            or (classes & module.imported and any(read == name for _, read in module.read))
            for module in modules
        ):
            yield setting.name


def _classes_of(sections: tuple[str, ...]) -> set[str]:
    """The section's class and those it is made of, and the options that a part is handed of them."""
    model = Settings
    for step in sections:
        model = section_of(model.model_fields[step].annotation)
    classes = {one.__name__ for one in model.__mro__ if issubclass(one, Section)} - {"Section"}
    return classes | {OPTIONS[name].__name__ for name in classes if name in OPTIONS}


def test_options_begin_with_the_defaults_of_the_settings() -> None:
    """A part that is built without settings behaves as one that is built from settings nobody has set."""
    settings = load_settings({})
    assert kafka_options(settings.kafka) == KafkaOptions()
    assert logging_options(settings.logging) == LoggingOptions()
    assert trading_options(settings.trading) == TradingOptions()
    assert call_bounds(settings.api) == CallBounds()
    assert consumer_options(settings.consumers) == ConsumerOptions()
    for group in GROUPS:
        # All partitions of raw signals at once: those of one frame are decided together.
        expected = ConsumerOptions(concurrency=8) if group == "risk.signals" else ConsumerOptions()
        assert consumer_options(settings.consumers, group) == expected


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    """Every module that may read settings."""
    return [
        Module.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
        if PACKAGE / "settings" not in path.parents and path != PACKAGE / "app" / "options.py"
    ]


def test_every_setting_is_read(modules) -> None:
    """A setting arrives with the code that reads it: there is no dead option."""
    dead = set(dead_settings(list(catalogue()), modules))
    targets = {f"mesh.{name}" for name, field in MeshSettings.model_fields.items() if field.annotation is str}
    overrides = {
        f"consumers.{name}.{one}"
        for name, field in ConsumersSettings.model_fields.items()
        if field.annotation is ConsumerOverrides
        for one in ConsumerOverrides.model_fields
    }
    # A target is read by its service's name, an override by its consumer's.
    assert dead - targets - overrides == set(), "no code reads these"


def test_a_dead_setting_is_seen(modules) -> None:
    """A setting that nobody reads is found, one of a section that is handed on too."""
    planted = [
        Setting(place, "planted", "", "", secret=False)
        for place in (("risk", "colour"), ("consumers", "url"), ("shape",))
    ]
    assert list(dead_settings(planted, modules)) == ["risk.colour", "consumers.url", "shape"]


def told_in_readmes() -> Iterator[tuple[str, str]]:
    """What the paragraphs on settings in the folders' READMEs name, each with its README."""
    for file in sorted(PACKAGE.glob("*/README.md")):
        for paragraph in file.read_text(encoding="utf-8").split("\n\n"):
            if paragraph.startswith("**Settings**"):
                for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)*\.(?:[a-z_]+|\*))`", paragraph):
                    yield name, f"{file.parent.name}/README.md"


def test_readmes_name_settings_that_there_are() -> None:
    """What a folder's README says of settings (`api.port`) and sections (`kafka.*`) is so."""
    names = {setting.name for setting in catalogue()}
    there = names | {f"{name.rpartition('.')[0]}.*" for name in names}
    told = list(told_in_readmes())
    assert told
    assert [(name, where) for name, where in told if name not in there] == []
