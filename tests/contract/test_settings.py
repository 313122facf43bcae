"""Settings are what their catalogue says: listed in `.env.example`, described, and read by some code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from alphapanda.settings import MeshSettings, Settings
from alphapanda.settings_catalogue import Setting, catalogue, env_example, section_of, value_text
from alphapanda.settings_running import ConsumerOverrides, ConsumersSettings
from alphapanda.settings_section import PREFIX, Section
from alphapanda.settings_sources import load_settings

PACKAGE = Path(__file__).resolve().parents[2] / "services" / "alphapanda"
OWN = (
    "settings.py",
    "settings_rooms.py",
    "settings_running.py",
    "settings_section.py",
    "settings_catalogue.py",
    "settings_sources.py",
)


def test_the_example_is_what_the_settings_say(repo_root: Path) -> None:
    """`.env.example` is made of settings.py and nothing else: `alphapanda settings --env-example > .env.example`."""
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
    that name. Settings without a section are read as `settings.name`.
    """
    declared = {pair for module in modules for pair in module.declared}
    for setting in settings:
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
    """The section's class, and those it is made of."""
    model = Settings
    for step in sections:
        model = section_of(model.model_fields[step].annotation)
    return {one.__name__ for one in model.__mro__ if issubclass(one, Section)} - {"Section"}


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    """Every module that may read settings."""
    return [
        Module.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name not in OWN
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
