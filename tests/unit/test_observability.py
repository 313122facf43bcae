"""What deploy/observability ships agrees with itself and with the program's figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import dashboards
import promql_parser
import pytest
from tests.observability.expressions import FOLDER, alerts, cases, panels

from alphapanda.cli import main
from alphapanda.telemetry.gauges import GAUGES
from alphapanda.telemetry.metrics import STAGES

SUFFIXES = {"s": "_seconds", "INR": "_INR", "By": "_bytes", "d": "_days"}


def expressions() -> Iterator[str]:
    """Those of every alert and panel."""
    yield from (alert["expr"] for alert in alerts().values())
    yield from (expression for _, expression in panels())


def selectors(expression: str) -> set[str]:
    """The names of the series that an expression reads."""
    found: set[str] = set()

    def visit(node: object) -> bool:
        match node:
            case promql_parser.VectorSelector(name=name):
                found.add(name)
            case promql_parser.MatrixSelector(vector_selector=inner):
                found.add(inner.name)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def test_each_expression_parses_and_reads_figures_that_the_program_has() -> None:
    """A gauge or a stage that was renamed is found here, without a Prometheus."""
    known = {gauge.name.replace(".", "_") + SUFFIXES.get(gauge.unit, "") for gauge in GAUGES}
    known |= {f"alphapanda_stage_{stage}_seconds_bucket" for stage in STAGES}
    program = (Path(dashboards.__file__).parents[1] / "services/alphapanda/telemetry/metrics.py").read_text()
    declared = {name.replace(".", "_") for name in re.findall(r'"(alphapanda\.[a-z_.]+)', program)}
    declared |= {
        f"alphapanda_consumer_{name}" for name in ("processed", "failed", "retried", "dead_lettered")
    }
    for expression in expressions():
        for name in selectors(expression) - known - {"up"}:
            bare = re.sub(r"(_seconds)?_bucket$|_total$", "", name)
            assert {bare, bare.removesuffix("_days"), bare.removesuffix("_seconds")} & declared, name


@pytest.mark.parametrize("broken", ["sum by (", "rate(alphapanda_errors_total)", 'up{job=~"'])
def test_a_broken_expression_is_refused(broken: str) -> None:
    """So that the test above says something."""
    with pytest.raises(ValueError, match=r".+"):
        promql_parser.parse(broken)


def test_each_alert_has_a_severity_a_summary_a_runbook_and_two_tests() -> None:
    """One test in which it fires and one in which it doesn't; the runbook says what it means and what to do."""
    runbook = (FOLDER / "RUNBOOK.md").read_text()
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", runbook, re.MULTILINE | re.DOTALL))
    assert list(sections) == list(alerts())
    for name, alert in alerts().items():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["runbook"] == f"RUNBOOK.md#{name.lower()}"
        assert "\nDo: " in f"\n{sections[name]}", name
    assert Counter(cases()) == {(name, fires): 1 for name in alerts() for fires in (True, False)}


def test_the_dashboards_are_what_their_source_makes() -> None:
    """`make dashboards` leaves a clean tree, and every panel has a place of its own and a legend for each query."""
    for name in dashboards.DASHBOARDS:
        assert (FOLDER / f"dashboards/{name}.json").read_text() == dashboards.text_of(name)
        made = [panel for panel in dashboards.dashboard(name)["panels"] if panel["type"] != "row"]
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made]
        assert len(set(places)) == len(places)
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= dashboards.WIDTH for panel in made)


def test_the_runbook_names_commands_that_exist() -> None:
    """Each `alphapanda …` of the runbook is a command of the program, with subcommands and options that it has."""
    runbook = (FOLDER / "RUNBOOK.md").read_text()
    named = {" ".join(text.split()) for text in re.findall(r"`alphapanda ([^`]+)`", runbook)}
    assert len(named) > 10
    for text in named:
        command: click.Command = main
        options = set(re.findall(r"--[a-z-]+", text))
        for word in text.split():
            if isinstance(command, click.Group):
                found = command.get_command(click.Context(command), word)
                assert found is not None, text
                command = found
        assert options <= {name for parameter in command.params for name in parameter.opts}, text
