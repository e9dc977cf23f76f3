"""Settings: precedence, derived defaults, and faults told in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from broker.errors import SettingsError
from broker.runtime.settings import NO_SETTINGS, audit_dsn, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("TRIAGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRIAGE_HOME", str(tmp_path))


def test_files_lie_in_the_home_and_are_named_after_the_role(tmp_path: Path) -> None:
    settings = load_settings(role="scheduler")
    assert settings.home == tmp_path
    assert settings.keys_file == tmp_path / "keys" / "scheduler.keys"
    assert settings.passphrase_file == tmp_path / "passphrase"
    assert settings.inventory_file == tmp_path / "inventory.json"
    assert settings.instance == "scheduler-1"


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "triage.toml").write_text('report_grace_s = 7.0\nmodel_seed = 3\nlog_level = "error"\n')
    monkeypatch.setenv("TRIAGE_MODEL_SEED", "4")
    monkeypatch.setenv("TRIAGE_LOG_LEVEL", "debug")
    settings = load_settings(log_level="warning")
    assert (settings.report_grace_s, settings.model_seed, settings.log_level) == (7.0, 4, "warning")


def test_the_file_that_the_environment_names_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.toml"
    other.write_text('planner_mode = "rulebook"\n')
    monkeypatch.setenv("TRIAGE_CONFIG", str(other))
    assert load_settings().planner_mode == "rulebook"


def test_a_named_file_that_is_missing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match=r"none\.toml, which is no file"):
        load_settings()


def test_an_unknown_key_in_the_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "triage.toml").write_text('modelurl = "http://x/v1"\n')
    with pytest.raises(SettingsError, match="unknown setting 'modelurl'; did you mean 'model_url'"):
        load_settings()


def test_a_misspelt_variable_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_MODEL_ULR", "http://x/v1")
    with pytest.raises(SettingsError, match="TRIAGE_MODEL_ULR; did you mean 'model_url'"):
        load_settings()


def test_a_variable_of_another_tool_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_PORT_BASE", "18000")
    assert load_settings().role == "reader"


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "triage.toml").write_text("report_grace_s = = 3\n")
    with pytest.raises(SettingsError, match="is not TOML"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("report_grace_s", "-1"),
        ("report_grace_s", "nan"),
        ("metrics_port", "70000"),
        ("role", "king"),
        ("nats_url", "localhost:4222"),
        ("model_url", "ftp://x"),
        ("instance", "Has Blanks"),
        ("auto_approve", "all"),
        ("platform", "kubernetes"),
        ("platform_url", "platform:7000"),
        ("prometheus_url", "prometheus"),
        ("metrics_host", "0.0.0.0/0"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TRIAGE_{name.upper()}", value)
    with pytest.raises(SettingsError, match=f"bad setting {name}"):
        load_settings()


def test_settings_are_frozen_and_hide_the_password() -> None:
    settings = load_settings(audit_dsn="postgresql://audit:hunter2@localhost/audit")
    assert "hunter2" not in repr(settings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.role = "monitor"  # type: ignore[misc]


def test_a_container_is_told_its_world_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_PLATFORM", "docker")
    monkeypatch.setenv("TRIAGE_PLATFORM_URL", "http://platform:7000")
    monkeypatch.setenv("TRIAGE_PLATFORM_TOKEN_FILE", "/run/triage/role/platform.token")
    monkeypatch.setenv("TRIAGE_METRICS_HOST", "192.0.2.7")
    monkeypatch.setenv("TRIAGE_PROMETHEUS_URL", "http://prometheus:9090")
    settings = load_settings()
    assert (settings.platform, settings.platform_url) == ("docker", "http://platform:7000")
    assert settings.platform_token_file == Path("/run/triage/role/platform.token")
    assert (settings.metrics_host, settings.prometheus_url) == ("192.0.2.7", "http://prometheus:9090")


def test_without_any_word_the_world_is_the_embedded_one_and_metrics_are_local() -> None:
    settings = load_settings()
    assert (settings.platform, settings.platform_url, settings.metrics_host) == ("embedded", None, "127.0.0.1")


def test_the_audit_database_is_named_by_value_or_by_the_first_line_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "audit.dsn"
    file.write_text("postgresql://audit:hunter2@audit-db/audit\n# not this\n")
    assert audit_dsn(load_settings(audit_dsn_file=file)) == "postgresql://audit:hunter2@audit-db/audit"
    assert audit_dsn(load_settings(audit_dsn_file=file, audit_dsn="postgresql:///own")) == "postgresql:///own"


def test_a_missing_or_empty_file_of_the_audit_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="audit_dsn is not set"):
        audit_dsn(load_settings())
    with pytest.raises(SettingsError, match=r"audit\.dsn, which holds .* cannot be read: No such file"):
        audit_dsn(load_settings(audit_dsn_file=tmp_path / "audit.dsn"))
    (tmp_path / "audit.dsn").write_bytes(b"\nsecond line")
    with pytest.raises(SettingsError, match="is empty"):
        audit_dsn(load_settings(audit_dsn_file=tmp_path / "audit.dsn"))
    (tmp_path / "audit.dsn").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is no text"):
        audit_dsn(load_settings(audit_dsn_file=tmp_path / "audit.dsn"))


@pytest.mark.parametrize("variable", sorted(NO_SETTINGS))
def test_the_ports_of_the_command_line_and_the_compose_file_are_no_misspelt_settings(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "19090")
    assert load_settings().prometheus_url is None
