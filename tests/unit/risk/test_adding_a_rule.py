from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

RULE = '''"""Units of one entry are a multiple of a number that is set."""

from __future__ import annotations

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "round_quantity"
LIMIT: Limit[int] = Limit("round_quantity", Unit.UNITS, Reach.ANY, "entries are multiples of it", least=1)


def judge(check: Check) -> RuleResult:
    """An exit passes whatever its quantity is."""
    multiple = check.limits.of(LIMIT)
    if not multiple:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    observed, limit = str(check.quantity), f"a multiple of {multiple}"
    if check.quantity % multiple == 0:
        return RuleResult(NAME, RuleOutcome.PASSED, limit, observed)
    return only_exits_pass(check, NAME, limit, observed, f"{observed} is not {limit}")


RULE = Rule(NAME, judge, limits=(LIMIT,))
'''

SCRIPT = """
import json
from tests.values import replace
from datetime import time
from pathlib import Path

import conftest

from alphapanda.app.limits import limits_of
from alphapanda.domain.verdict import Approved
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.limits_file import read_limits
from alphapanda.risk.messages import limit_messages
from alphapanda.settings.catalogue import catalogue
from alphapanda.settings.sources import load_settings

market = conftest.Market()


def judged(settings, target, scoped=None):
    inputs = replace(market.inputs(), limits=limits_of(settings.risk, time(15, 0)))
    if scoped is not None:
        inputs = replace(inputs, scoped=scoped)
    [verdict] = RiskBook().judge(market.target(target), inputs)
    return "approved" if isinstance(verdict, Approved) else verdict.reason


plain, with_limit = load_settings({}), load_settings({"ALPHAPANDA_RISK__ROUND_QUANTITY": "10"})
file = Path("limits.toml")
file.write_text('[strategies.ema-1]\\nround_quantity = 7\\n')
scoped = read_limits(file, ["ema-1"], conftest.DIRECTORY)
print(json.dumps({
    "off": judged(plain, 15),
    "setting": [judged(with_limit, 15), judged(with_limit, 20)],
    "file": [judged(with_limit, 20, scoped), judged(with_limit, 21, scoped)],
    "shown": [
        (limit.rule, limit.value, limit.settable)
        for limit in limit_messages(limits_of(plain.risk, time(15, 0)), scoped, "ema-1", "")
        if limit.name == "round_quantity"
    ],
    "catalogue": [setting.description for setting in catalogue() if setting.name == "risk.round_quantity"],
}))
"""


def test_a_rule_is_one_file_and_one_line(tmp_path: Path, repo_root: Path) -> None:
    """With both it judges, and its limit is a setting, in a limits file, in GetLimits and in the list of settings."""
    package = tmp_path / "alphapanda"
    shutil.copytree(
        repo_root / "services" / "alphapanda", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    rules = package / "risk" / "core" / "rules"
    (rules / "round_quantity.py").write_text(RULE)
    registered = rules / "__init__.py"
    before = registered.read_text()
    registered.write_text(before.replace('    "cooldown",\n', '    "cooldown",\n    "round_quantity",\n'))
    assert registered.read_text() != before
    path = [tmp_path, repo_root / "gen" / "python", repo_root, Path(__file__).parent]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "off": "approved",
        "setting": ["ROUND_QUANTITY", "approved"],
        "file": ["ROUND_QUANTITY", "approved"],
        "shown": [["round_quantity", "7", True]],
        "catalogue": ["entries are multiples of it"],
    }
