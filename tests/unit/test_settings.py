from __future__ import annotations

import json
from decimal import Decimal
from operator import attrgetter

import pytest
from click.testing import CliRunner

from alphapanda.app.kite_accounts import kite_accounts
from alphapanda.cli import main
from alphapanda.settings.catalogue import catalogue
from alphapanda.settings.sources import SettingsInvalid, load_settings, read_settings
from alphapanda.telemetry.redaction import redacted, remember_secrets, remember_session_secret

PLAINTEXT_DATABASE = "the connection to PostgreSQL is not encrypted: add ?ssl=verify-full (or verify-ca, require) to database.url"
SECRET = "s" * 40
INTEGER = "Input should be a valid integer, unable to parse string as an integer"


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


def test_five_errors_of_five_kinds_are_told_at_once(tmp_path):
    """A bad value, a bad TOML type, an unknown name, a line that is none and two that disagree: a line each."""
    toml = tmp_path / "panda.toml"
    toml.write_text(
        'active_brokers = ["paper"]\n[consumers.defaults]\nbatch_size = "many"\n[zerodha]\nenabled = true\n'
    )
    dotenv = tmp_path / ".env"
    dotenv.write_text("ALPHAPANDA_RISK__MAX_ORDER_QUANTTY=5\nnot a line = at all\n")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings({"ALPHAPANDA_API__PORT": "70000"}, config=toml, dotenv=dotenv)
    assert refused.value.problems == (
        f"settings file {dotenv}, line 2: is not NAME=value",
        "unknown setting ALPHAPANDA_RISK__MAX_ORDER_QUANTTY; did you mean ALPHAPANDA_RISK__MAX_ORDER_QUANTITY?",
        "setting ALPHAPANDA_API__PORT: '70000' is not allowed; Input should be less than or equal to 65535",
        f"setting consumers.defaults.batch_size: 'many' is not allowed; {INTEGER}",
        "zerodha.enabled needs 'zerodha' in active_brokers",
    )


def test_a_file_that_is_no_toml_does_not_hide_the_rest(tmp_path):
    """A TOML file that can't be read is one line among the others."""
    toml = tmp_path / "panda.toml"
    toml.write_text("[api\n")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings({"ALPHAPANDA_ACCOUNT": "no spaces"}, config=toml)
    assert len(refused.value.problems) == 2
    assert refused.value.problems[0].startswith(f"settings file {toml}: ")


def test_a_wrong_value_is_not_told_twice(tmp_path):
    """Where a setting is wrong by itself, that it disagrees with another is not worth a line."""
    with pytest.raises(SettingsInvalid) as refused:
        load_settings({"ALPHAPANDA_ACTIVE_BROKERS": "Paper", "ALPHAPANDA_ZERODHA__ENABLED": "true"})
    assert len(refused.value.problems) == 1


def test_a_single_value_where_a_section_belongs(tmp_path):
    """A file that gives a section a single value is refused, whatever the environment says of that section."""
    toml = tmp_path / "panda.toml"
    toml.write_text("risk = 5\n")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings({"ALPHAPANDA_RISK__MAX_ORDER_QUANTITY": "7"}, config=toml)
    (problem,) = refused.value.problems
    assert problem.startswith("setting risk: 5 is not allowed")


@pytest.mark.parametrize("value", ["inf", "nan", "0", "-1"])
def test_a_time_is_finite_and_above_zero(value):
    """Seconds are a number above zero; infinity is none."""
    with pytest.raises(SettingsInvalid, match="ALPHAPANDA_MESH__DRAIN_SECONDS"):
        load_settings({"ALPHAPANDA_MESH__DRAIN_SECONDS": value})


def test_each_setting_knows_where_it_comes_from(tmp_path):
    """What is said nearest is named as the source; what nobody says is a default."""
    toml = tmp_path / "panda.toml"
    toml.write_text('account = "toml"\n[risk]\nmax_order_quantity = 5\n')
    dotenv = tmp_path / ".env"
    dotenv.write_text("ALPHAPANDA_ACCOUNT=dotenv\nALPHAPANDA_API__PORT=1\n")
    read = read_settings({"ALPHAPANDA_API__PORT": "2"}, config=toml, dotenv=dotenv)
    assert read.sources == {
        ("account",): str(dotenv),
        ("api", "port"): "environment",
        ("risk", "max_order_quantity"): str(toml),
    }


def test_an_empty_value_is_none_where_nothing_is_the_default():
    """The line of .env.example, taken as it is, means the default: no folder, and not the one we are in."""
    assert load_settings({"ALPHAPANDA_EMBEDDED__DATA_DIR": ""}).embedded.data_dir is None


def refusals(**environment: str) -> list[str]:
    """What production says to these settings, without its own beginning."""
    variables = {f"ALPHAPANDA_{name}": value for name, value in environment.items()}
    with pytest.raises(SettingsInvalid) as refused:
        load_settings({"ALPHAPANDA_ENVIRONMENT": "production"} | variables)
    return [problem.removeprefix("environment is production, and ") for problem in refused.value.problems]


def test_waits_that_disagree_are_told():
    """A first wait over the longest is refused with both."""
    with pytest.raises(SettingsInvalid, match=r"initial_seconds 5 is longer than retry.max_seconds 1"):
        load_settings({"ALPHAPANDA_RETRY__INITIAL_SECONDS": "5"})


def test_everything_wrong_with_kafkas_guard_is_told_at_once(tmp_path):
    """What a protocol needs and isn't there, what it has no use for, and a file without certificates: a line each."""
    (tmp_path / "ca.pem").write_text("nobody vouches")
    kafka = "ALPHAPANDA_KAFKA__"
    with pytest.raises(SettingsInvalid) as refused:
        load_settings({f"{kafka}SECURITY_PROTOCOL": "SASL_SSL", f"{kafka}CA_FILE": str(tmp_path / "ca.pem")})
    user, unproved, file = refused.value.problems
    assert user == "kafka.security_protocol SASL_SSL needs kafka.sasl_username, which is empty"
    assert unproved.startswith("kafka.security_protocol SASL_SSL needs kafka.sasl_pass")
    assert file.endswith("ca.pem': holds no certificate in PEM")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(
            {
                f"{kafka}SASL_PASSWORD": "made-up",  # pragma: allowlist secret
                f"{kafka}CA_FILE": str(tmp_path / "none.pem"),
                f"{kafka}SASL_MECHANISM": "GUESS",
            }
        )
    mechanism, unasked, unused, file = refused.value.problems
    assert "SCRAM-SHA-512" in mechanism
    assert unasked.startswith("kafka.sasl_password is set and kafka.security_protocol is PLAINTEXT")
    assert unused.startswith("kafka.ca_file is set and kafka.security_protocol is PLAINTEXT")
    assert file.endswith("none.pem': No such file or directory")
    assert "made-up" not in str(refused.value)


class TestProduction:
    """What production refuses."""

    def test_what_is_missing_is_said_by_name_in_one_message(self):
        """TLS, authentication and its secret are each a line, and nothing else where all is local."""
        assert refusals() == [
            "gRPC is not encrypted: set tls.certificate and tls.key to PEM files, and tls.ca to their authority",
            "whoever calls may do everything: set auth.enabled to true",
            "auth.secret is empty: set it to a secret, such as `openssl rand -base64 48` prints",
        ]
        assert refusals(AUTH__SECRET=SECRET) == refusals()[:2]
        assert refusals(AUTH__SECRET=SECRET, AUTH__ENABLED="true") == refusals()[:1]

    def test_it_starts_with_all_of_it(self):
        """With certificate, key, authentication and its secret nothing is refused."""
        given = {
            "TLS__CERTIFICATE": "own.pem",
            "TLS__KEY": "own.key",
            "AUTH__ENABLED": "true",
            "AUTH__SECRET": SECRET,
        }
        variables = {f"ALPHAPANDA_{name}": value for name, value in given.items()}
        assert load_settings({"ALPHAPANDA_ENVIRONMENT": "production"} | variables).auth.enabled

    def test_plaintext_and_missing_secrets_are_told_with_what_else_is_wrong(self):
        """Each plaintext connection and each missing password is a line, beside a value out of range."""
        problems = refusals(
            DATABASE__URL="postgresql+asyncpg://panda@db/panda",
            REDIS__URL="redis://cache:6379",
            KAFKA__BOOTSTRAP_SERVERS="k1:9092,localhost:9092",
            TELEMETRY__OTLP_ENDPOINT="http://collector:4317",
            API__PORT="70000",
        )
        assert problems[0].startswith("setting ALPHAPANDA_API__PORT: '70000'")
        assert problems[4:] == [
            "Kafka at k1:9092 is reached without encryption: set kafka.security_protocol to SASL_SSL",
            PLAINTEXT_DATABASE,
            "database.url has no password",
            "the connection to Redis is not encrypted: begin redis.url with rediss://",
            "redis.url has no password",
            "the connection to the collector is not encrypted: begin telemetry.otlp_endpoint with https://",
        ]

    @pytest.mark.parametrize(
        ("database", "redis"),
        [
            ("postgresql+asyncpg://panda@/panda?host=%2Frun%2Fpg&port=5432", "unix:///run/redis.sock"),
            ("postgresql+asyncpg://panda@127.0.0.1/panda", "redis://localhost:6379"),
            ("postgresql+asyncpg://panda@[::1]/panda", "redis://[::1]:6379"),
            (
                "postgresql+asyncpg://panda:secret@db/panda?ssl=verify-full",  # pragma: allowlist secret
                "rediss://:secret@cache:6379",  # pragma: allowlist secret
            ),
        ],
    )
    def test_sockets_loopback_and_tls_are_safe(self, database, redis):
        """What never leaves the machine, and what is encrypted and has a password, is no further problem."""
        assert refusals(DATABASE__URL=database, REDIS__URL=redis) == refusals()

    @pytest.mark.parametrize(
        "database",
        [
            "postgresql+asyncpg://panda:hunter2@db/panda?ssl=prefer",  # pragma: allowlist secret
            "postgresql+asyncpg://panda:hunter2@127.0.0.1/panda?host=db",  # pragma: allowlist secret
            "postgresql+asyncpg://panda:hunter2@[bad/panda",  # pragma: allowlist secret
        ],
    )
    def test_what_only_looks_safe_is_not(self, database):
        """An encryption that may be left out, a host named in the query, an address that is none: plaintext."""
        problems = refusals(DATABASE__URL=database)
        assert any("the connection to PostgreSQL is not encrypted" in problem for problem in problems)
        assert "hunter2" not in str(problems)

    def test_other_environments_ask_for_none_of_it(self):
        """Development and testing may speak plaintext."""
        for environment in ("development", "testing"):
            variables = {"ALPHAPANDA_ENVIRONMENT": environment, "ALPHAPANDA_REDIS__URL": "redis://cache"}
            assert load_settings(variables).environment == environment


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "postgres://h/d", "postgresql://h/d", "postgresql+asyncpg://h/d x"]
)
def test_a_database_of_another_kind_is_refused(url):
    """The URL names the driver; what it may be is told, and the URL isn't, as it may hold a password."""
    with pytest.raises(
        SettingsInvalid, match=r"ALPHAPANDA_DATABASE__URL: is not allowed; .*postgresql"
    ) as refused:
        load_settings({"ALPHAPANDA_DATABASE__URL": url})
    assert url not in str(refused.value)


class TestTheCommand:
    """`alphapanda settings`."""

    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        """Runs it in a folder of its own with an environment."""

        def run(*arguments: str, **environment: str):
            monkeypatch.chdir(tmp_path)
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            return CliRunner().invoke(main, ["settings", *arguments])

        return run

    def test_secrets_are_hidden(self, run):
        """Every setting is shown with value and source; what may hold a password is only said to be set."""
        url = "redis://:hunter2@cache:6379"  # pragma: allowlist secret
        found = run("--json", ALPHAPANDA_REDIS__URL=url, ALPHAPANDA_API__PORT="5")
        assert found.exit_code == 0
        assert "hunter2" not in found.output
        rows = {row["name"]: row for row in json.loads(found.stdout)}
        assert (rows["redis.url"]["value"], rows["redis.url"]["source"]) == (
            "(set, not shown)",
            "environment",
        )
        assert (rows["api.port"]["value"], rows["api.port"]["source"]) == ("5", "environment")
        assert (rows["kafka.client_id"]["value"], rows["kafka.client_id"]["source"]) == (
            "alpha-panda-client",
            "default",
        )
        assert "hunter2" not in run().output

    def test_wrong_settings_are_told_line_by_line(self, run):
        """What is wrong comes on stderr, a line each, with exit code 2."""
        found = run(ALPHAPANDA_API__PORT="x", ALPHAPANDA_ACCOUNT="?")
        assert found.exit_code == 2
        assert len(found.stderr.splitlines()) == 2
        assert found.stdout == ""


def test_a_consumer_has_its_own_way_with_failures_over_the_defaults(tmp_path) -> None:
    """Environment and TOML can both say it; what a consumer doesn't say is as in the defaults."""
    file = tmp_path / "panda.toml"
    file.write_text("[consumers.defaults]\nbug_attempts = 7\n[consumers.trading]\nbatch_size = 9\n")
    environ = {"ALPHAPANDA_CONSUMERS__RISK_SIGNALS__BACKOFF_MAX_SECONDS": "2.5"}
    consumers = load_settings(environ, config=file).consumers
    assert consumers.policy("risk.signals").backoff_max_seconds == 2.5
    assert consumers.policy("risk.signals").bug_attempts == 7
    assert consumers.policy("risk.orders").backoff_max_seconds == 10.0
    assert consumers.policy("trading").batch_size == 9


def test_an_unknown_consumer_is_refused_with_the_nearest_name() -> None:
    """A name that no consumer has stops the start."""
    environ = {"ALPHAPANDA_CONSUMERS__RISK_SIGNAL__BATCH_SIZE": "5"}
    with pytest.raises(SettingsInvalid, match="did you mean ALPHAPANDA_CONSUMERS__RISK_SIGNALS__BATCH_SIZE"):
        load_settings(environ)


SECRETS = [setting for setting in catalogue() if setting.secret]


def a_value(setting) -> str:
    """A value that a secret setting takes."""
    return {
        "database.url": "postgresql+asyncpg://u:canary-7%2Fx@h/d",  # pragma: allowlist secret
        "redis.url": "redis://:canary-7%2Fx@h",
        "auth.secret": "canary-7/x" * 4,  # pragma: allowlist secret
        "zerodha.session_key": "canary-7/x" * 4,
    }.get(setting.name, "canary-7/x")


def companions(setting) -> dict[str, str]:
    """Variables without which a secret's own setting would be refused."""
    if setting.place[0] == "kafka":
        return {"ALPHAPANDA_KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "ALPHAPANDA_KAFKA__SASL_USERNAME": "u"}
    pair = {"zerodha.api_key": "API_SECRET", "zerodha.api_secret": "API_KEY"}  # pragma: allowlist secret
    return {f"ALPHAPANDA_ZERODHA__{pair[setting.name]}": "other"} if setting.name in pair else {}


@pytest.mark.parametrize("setting", SECRETS, ids=lambda one: one.name)
def test_a_secret_comes_from_a_file(setting, tmp_path):
    """Every secret may be in a file that the environment, .env or the TOML file names; the source names the file."""
    file, toml, dotenv = tmp_path / "secret", tmp_path / "panda.toml", tmp_path / ".env"
    file.write_text(f"{a_value(setting)}\n")
    section, name = setting.place
    toml.write_text(f'[{section}]\n{name}_file = "{file}"\n')
    dotenv.write_text(f"{setting.variable}_FILE={file}\n")
    also = companions(setting)
    for sources in (
        {"environ": {f"{setting.variable}_FILE": str(file)} | also},
        {"environ": also, "dotenv": dotenv},
        {"environ": also, "config": toml},
    ):
        read = read_settings(sources.pop("environ"), **sources)
        assert attrgetter(setting.name)(read.settings) == a_value(setting)
        assert str(file) in read.sources[setting.place]


def test_an_editor_s_mark_is_no_part_of_a_secret(tmp_path):
    """A byte order mark at the beginning and line ends of Windows: the secret is what was typed, spaces and all."""
    typed = "a long word "
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbf" + typed.encode() + b"\r\n")
    read = load_settings({"ALPHAPANDA_AUTH__FIRST_ADMIN_PASSWORD_FILE": str(tmp_path / "secret")})
    assert read.auth.first_admin_password == typed


def test_what_is_wrong_with_a_secret_s_file_is_told(tmp_path):
    """Missing, empty, no text, too long, or beside the secret itself: a line each, without what is in it."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_text("x" * 70_000)
    said = []
    for name in ("none", "empty", "bytes", "long"):
        with pytest.raises(SettingsInvalid) as refused:
            load_settings({"ALPHAPANDA_REDIS__URL_FILE": str(tmp_path / name)})
        (problem,) = refused.value.problems
        assert problem.startswith(f"setting ALPHAPANDA_REDIS__URL_FILE: file '{tmp_path / name}' ")
        said.append(problem.rpartition("' ")[2])
    assert said == ["No such file or directory", "is empty", "holds no text", "holds more than 65536 bytes"]
    with pytest.raises(SettingsInvalid, match="are both set in environment"):
        load_settings({"ALPHAPANDA_REDIS__URL_FILE": "x", "ALPHAPANDA_REDIS__URL": "redis://h"})
    with pytest.raises(SettingsInvalid, match="unknown setting ALPHAPANDA_ACCOUNT_FILE"):
        load_settings({"ALPHAPANDA_ACCOUNT_FILE": "x"})
    with pytest.raises(SettingsInvalid, match="unknown setting") as refused:
        load_settings({}, config=_toml(tmp_path, 'account_file = "x"'))
    with pytest.raises(SettingsInvalid, match=r"redis.url_file: 5 is not allowed; the path of a file"):
        load_settings({}, config=_toml(tmp_path, "[redis]\nurl_file = 5"))


def test_the_environment_s_secret_wins_over_a_file_of_the_toml_file(tmp_path):
    """What is nearer wins, whether it is the secret or its file."""
    (tmp_path / "secret").write_text("redis://of-the-file")
    toml = _toml(tmp_path, f'[redis]\nurl_file = "{tmp_path / "secret"}"')
    assert load_settings({"ALPHAPANDA_REDIS__URL": "redis://near"}, config=toml).redis.url == "redis://near"
    toml = _toml(tmp_path, '[redis]\nurl = "redis://of-the-toml"')
    near = {"ALPHAPANDA_REDIS__URL_FILE": str(tmp_path / "secret")}
    assert load_settings(near, config=toml).redis.url == "redis://of-the-file"


@pytest.mark.parametrize("setting", SECRETS, ids=lambda one: one.name)
def test_a_secret_that_is_known_stands_nowhere(setting):
    """Once read it is removed from any text, whatever stands around it; in an error about itself, too."""
    load_settings({setting.variable: a_value(setting)} | companions(setting))
    told = "canary-7/x" * (4 if setting.name in {"auth.secret", "zerodha.session_key"} else 1)
    assert "canary" not in str(redacted([f"the server said {told} and left", {"note": told}]))
    for wrong in (
        {setting.place[0]: "redis://u:canary-8@h"},  # pragma: allowlist secret
        {setting.place[0]: {setting.place[1]: ["canary-8"]}},
    ):
        with pytest.raises(SettingsInvalid) as refused:
            load_settings({}, **wrong)
        assert "canary" not in str(refused.value)


def test_a_word_is_no_known_secret():
    """A password that is a word of every log line stays a word."""
    remember_secrets(["alphapanda", "short-1"])
    assert redacted("alphapanda short-1") == "alphapanda short-1"


def test_a_token_that_changes_is_removed_with_the_one_before():
    """A broker's token stands nowhere while it is the newest or the one before; older ones are dead, and forgotten."""
    tokens = [f"canary-token-{number}" for number in range(4)]
    for token in tokens:
        remember_session_secret("zerodha:default", token)
    assert (
        redacted(f"ws://kite/?access={tokens[3]} and {tokens[2]}")
        == "ws://kite/?access=[redacted] and [redacted]"
    )
    assert redacted(tokens[0]) == tokens[0]
    remember_session_secret("zerodha:second", "canary-token-9")
    assert "canary" not in str(redacted(["canary-token-9", tokens[3]]))


def _toml(folder, text):
    file = folder / "panda.toml"
    file.write_text(f"{text}\n")
    return file


@pytest.mark.parametrize(
    ("origins", "told"),
    [
        ("*,https://desk.example", "* beside names"),
        ("desk.example", "'desk.example' is no origin"),
        ("https://desk.example/path", "is no origin"),
        ("null", "is no origin"),
    ],
)
def test_origins_are_named_or_any(origins, told):
    """A star beside names would be a star; what is no origin matches none."""
    with pytest.raises(SettingsInvalid) as refused:
        load_settings({"ALPHAPANDA_MONITORING__CORS_ORIGINS": origins})
    assert told in str(refused.value)
    assert load_settings({"ALPHAPANDA_MONITORING__CORS_ORIGINS": "*"}).monitoring.cors_origins == ("*",)


@pytest.mark.parametrize(
    ("secret", "told"),
    [("", "is not set"), ("hunter2", "has 7 bytes"), (f"{'a' * 32},hunter2", "has 7 bytes")],
)
def test_authentication_does_not_start_without_a_key(secret, told):
    """There is no default secret, a short one can be guessed, and none is shown."""
    with pytest.raises(
        SettingsInvalid, match=f"auth.secret, which {told}: a secret of at least 32 bytes"
    ) as refused:
        load_settings({"ALPHAPANDA_AUTH__ENABLED": "true", "ALPHAPANDA_AUTH__SECRET": secret})
    assert "hunter2" not in str(refused.value)
    load_settings({"ALPHAPANDA_AUTH__ENABLED": "true", "ALPHAPANDA_AUTH__SECRET": "a" * 32})


OLD, NEW = "RECONNECTION__MAX_SECONDS", "RETRY__MAX_SECONDS"
FOR_NOW = "; the old name is taken for one release"


class TestOldNames:
    """Settings that have a new name."""

    def test_an_old_name_is_taken_and_told(self, tmp_path):
        """The waits of stores keep working by their old names, in the environment and in a file, with a line each."""
        toml = tmp_path / "panda.toml"
        toml.write_text("[reconnection]\nredis_attempts = 7\nmax_attempts = 9\n")
        read = read_settings({"ALPHAPANDA_RECONNECTION__MAX_SECONDS": "9"}, config=toml)
        assert (read.settings.retry.redis_attempts, read.settings.retry.max_seconds) == (7, 9.0)
        assert read.settings.reconnection.max_attempts == 9
        assert read.notes == [
            f"setting reconnection.redis_attempts in {toml} is called retry.redis_attempts now{FOR_NOW}",
            f"setting ALPHAPANDA_{OLD} in environment is called ALPHAPANDA_{NEW} now{FOR_NOW}",
        ]

    def test_an_old_name_that_is_wrong_is_told_by_it(self):
        """Who wrote the old name finds it in the error."""
        with pytest.raises(
            SettingsInvalid, match="ALPHAPANDA_RECONNECTION__REDIS_ATTEMPTS: '-1' is not allowed"
        ):
            load_settings({"ALPHAPANDA_RECONNECTION__REDIS_ATTEMPTS": "-1"})

    def test_both_names_are_one_too_many(self):
        """With both in one place nobody knows which is meant."""
        both = {"ALPHAPANDA_RECONNECTION__MAX_SECONDS": "9", "ALPHAPANDA_RETRY__MAX_SECONDS": "8"}
        with pytest.raises(SettingsInvalid, match="unknown setting ALPHAPANDA_RECONNECTION__MAX_SECONDS"):
            load_settings(both)


class TestZerodha:
    """Accounts, keys and addresses of Zerodha."""

    def test_nothing_set_means_no_account(self):
        """Zerodha isn't used until there is a key or an account."""
        assert kite_accounts(load_settings({})) == ()

    def test_one_key_is_the_deployments_account(self):
        """With one app nobody needs to name an account."""
        given = {"ALPHAPANDA_ZERODHA__API_KEY": "k", "ALPHAPANDA_ZERODHA__API_SECRET": "s"}
        assert kite_accounts(load_settings({**given, "ALPHAPANDA_ACCOUNT": "desk"})) == ("desk",)

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"API_KEY": "k"}, "zerodha.api_key needs zerodha.api_secret, which is empty"),
            ({"API_SECRET": "s"}, "zerodha.api_secret needs zerodha.api_key, which is empty"),
            (
                {"ACCOUNTS": "a,b", "API_KEY": "k", "API_SECRET": "s,t"},
                r"zerodha.api_key has 1 values for 2 accounts \(a, b\)",
            ),
            ({"ACCOUNTS": "a,a"}, "an account is named twice"),
            ({"ACCOUNTS": "a b"}, "letters, digits"),
            ({"API_ROOT": "https://api.kite.trade/v3"}, "ALPHAPANDA_ZERODHA__API_ROOT"),
            (
                {"API_ROOT": "http://api.kite.trade"},
                "is not encrypted, and keys and tokens would be read on the way",
            ),
            ({"WS_ROOT": "ws://kite"}, "begin it with wss://"),
            ({"SESSION_KEY": "short"}, "zerodha.session_key has 5 bytes: a secret of at least 32 bytes"),
            ({"ACCOUNTS": "a", "ACTIVE": "paper"}, "needs 'zerodha' in active_brokers"),
        ],
    )
    def test_what_doesnt_fit_is_told(self, given, told):
        """What is missing, counted wrongly, or would be read on the way is a line that says what to do."""
        variables = {
            f"ALPHAPANDA_ZERODHA__{name}": value for name, value in given.items() if name != "ACTIVE"
        }
        if "ACTIVE" in given:
            variables["ALPHAPANDA_ACTIVE_BROKERS"] = given["ACTIVE"]
        with pytest.raises(SettingsInvalid, match=told):
            load_settings(variables)

    def test_a_stub_on_this_machine_needs_no_encryption(self):
        """Loopback may be plain, for a stand-in of the exchange."""
        root = "http://127.0.0.1:5018"
        given = {"API_ROOT": root, "LOGIN_ROOT": root, "WS_ROOT": "ws://127.0.0.1:5018/ws"}
        read = load_settings({f"ALPHAPANDA_ZERODHA__{name}": value for name, value in given.items()})
        assert read.zerodha.api_root == root


ACCOUNT = {"api_key": "key", "api_secret": "secret"}  # pragma: allowlist secret
LIMITS_OF_LIVE = {"max_order_value": 50_000, "max_daily_loss": 5_000, "max_daily_trades": 40}


@pytest.mark.parametrize("name", LIMITS_OF_LIVE)
def test_zerodha_refuses_to_start_without_limits_of_its_own(name):
    """Largest order value, daily loss and orders a day are chosen by a person, or nothing trades with real money."""
    given = {key: value for key, value in LIMITS_OF_LIVE.items() if key != name}
    with pytest.raises(SettingsInvalid, match=f"zerodha.enabled needs zerodha.{name}:"):
        load_settings({}, zerodha={"enabled": True, **ACCOUNT, **given})
    assert load_settings({}, zerodha={"enabled": True, **ACCOUNT, **LIMITS_OF_LIVE}).zerodha.enabled
