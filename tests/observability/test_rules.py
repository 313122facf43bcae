"""promtool finds the configuration and the rules in order, and each alert's test passes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from tests.observability.expressions import FOLDER


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_is_content(tool: Callable[[str], str], arguments: tuple[str, ...]) -> None:
    """It says SUCCESS; its complaint is shown where it doesn't."""
    done = subprocess.run(
        [tool("promtool"), *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_an_alert_that_does_not_fire(tool: Callable[[str], str], tmp_path) -> None:
    """A rule that is changed without its test fails the check."""
    rules = (
        (FOLDER / "rules.yml")
        .read_text()
        .replace("alphapanda_orders_unknown > 0", "alphapanda_orders_unknown > 9")
    )
    (tmp_path / "rules.yml").write_text(rules)
    (tmp_path / "rules.test.yml").write_text((FOLDER / "rules.test.yml").read_text())
    done = subprocess.run(
        [tool("promtool"), "test", "rules", "rules.test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "OrdersUnknown" in done.stdout + done.stderr
