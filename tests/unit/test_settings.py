from __future__ import annotations

from decimal import Decimal

import pytest

from alphapanda.settings_sources import SettingsInvalid, load_settings


def test_the_environment_wins_over_dotenv_and_that_over_toml(tmp_path):
    """The nearer source wins, setting by setting."""
    toml = tmp_path / "panda.toml"
    toml.write_text('account = "toml"\n[paper_trading]\nslippage_percent = "1"\ncommission_percent = "1"\n')
    dotenv = tmp_path / ".env"
    dotenv.write_text("ALPHAPANDA_PAPER_TRADING__COMMISSION_PERCENT=2\nALPHAPANDA_ACCOUNT=dotenv\nOTHER=x\n")
    settings = load_settings({"ALPHAPANDA_ACCOUNT": "environ"}, config=toml, dotenv=dotenv)
    assert settings.account == "environ"
    assert settings.paper_trading.commission_percent == Decimal(2)
    assert settings.paper_trading.slippage_percent == Decimal(1)


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path):
    """A misspelt name in the environment or the file stops the start and suggests the right one."""
    toml = tmp_path / "panda.toml"
    toml.write_text("[risk]\nmax_order_quantitty = 5\n")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings({"ALPHAPANDA_API__PROT": "1"}, config=toml)
    assert refused.value.problems == (
        "unknown setting ALPHAPANDA_API__PROT; did you mean ALPHAPANDA_API__PORT?",
        "unknown setting risk.max_order_quantitty; did you mean risk.max_order_quantity?",
    )


def test_everything_wrong_is_told_at_once():
    """Each bad value has a line that names the setting, the value and what is allowed."""
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(
            {
                "ALPHAPANDA_API__PORT": "70000",
                "ALPHAPANDA_ACTIVE_BROKERS": "Paper",
                "ALPHAPANDA_ZERODHA__ENABLED": "perhaps",
            }
        )
    assert len(refused.value.problems) == 3
    assert any("ALPHAPANDA_API__PORT: '70000'" in problem for problem in refused.value.problems)


def test_a_url_never_stands_in_an_error_or_a_repr():
    """Connection URLs may hold passwords, so they are not shown."""
    with pytest.raises(SettingsInvalid) as refused:
        load_settings({}, database={"url": ["hunter2"]})
    assert "hunter2" not in str(refused.value)
    settings = load_settings({"ALPHAPANDA_DATABASE__URL": "postgresql+asyncpg://u:hunter2@h/d"})
    assert "hunter2" not in repr(settings)


def test_the_process_environment_is_not_read_behind_the_callers_back(monkeypatch):
    """Settings come from what is handed in."""
    monkeypatch.setenv("ALPHAPANDA_ACCOUNT", "hidden")
    assert load_settings({}).account == "default"
