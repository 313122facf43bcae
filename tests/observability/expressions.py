"""The expressions of deploy/observability: of alerts and of panels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).resolve().parents[2] / "deploy/observability"
RATE_INTERVAL: Final = "15s"


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def cases() -> list[tuple[str, bool]]:
    """The alerts that rules.test.yml tests, each with whether the test expects it to fire."""
    tests = yaml.safe_load((FOLDER / "rules.test.yml").read_text())["tests"]
    return [
        (rule["alertname"], bool(rule["exp_alerts"])) for test in tests for rule in test["alert_rule_test"]
    ]


def panels() -> Iterator[tuple[str, str]]:
    """Each panel's queries, as "dashboard / panel / legend" and the expression with Grafana's variables replaced."""
    for file in sorted((FOLDER / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
                for variable in ("$job", "$broker"):
                    expression = expression.replace(variable, ".*")
                yield f"{file.stem} / {panel['title']} / {target['legendFormat']}", expression
