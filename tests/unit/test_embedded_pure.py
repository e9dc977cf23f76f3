"""Drift, the text of the supervisor configuration, the ledger, the layout, the declared programs."""

from __future__ import annotations

import configparser
import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from supervisor.datatypes import dict_of_key_value_pairs

from broker.runtime.settings import Settings
from deploy.embedded.errors import HomeError, PortInUseError, StackError
from deploy.embedded.layout import Layout, layout
from deploy.embedded.ports import require_base, require_free
from deploy.embedded.programs import Plan, base_environment, units, world
from deploy.embedded.status import StackRecord
from deploy.status import ProgramStatus, StackStatus, Tier
from deploy.vault import ensure_passphrase, ensure_secrets, read_secrets
from services.inventory.ports import DEFAULT_BASE, OFFSETS, port
from services.platform.embedded.drift import command_drift, environment_drift
from services.platform.embedded.home import Home
from services.platform.embedded.sections import Section, quote, render_program
from services.platform.embedded.supervisor import ProgramInfo
from services.platform.embedded.view import _workload
from services.platform.embedded.world import Program, World, load_world
from services.platform.ledger import Ledger, Row
from services.platform.port import Drift, PlatformDownError

WEB = Program(
    name="web",
    command=("python", "-m", "web"),
    environment={"HOST": "db", "PIN": "1234"},
    secrets=("PIN",),
    managed=True,
    probe="http",
    host="127.0.0.1",
    port=1,
)


# -- drift


def test_nothing_differs_where_everything_is_as_declared() -> None:
    actual = {"PATH": "/bin", "HOST": "db", "PIN": "1234", "SUPERVISOR_ENABLED": "1", "LC_CTYPE": "C.UTF-8"}
    assert environment_drift(WEB, {"PATH": "/bin"}, actual) == []


def test_changed_missing_and_added_variables_are_named() -> None:
    actual = {"HOST": "elsewhere", "PIN": "1234", "DEBUG": "1"}
    assert environment_drift(WEB, {"PATH": "/bin"}, actual) == [
        Drift("environment", "DEBUG", "(unset)", "1"),
        Drift("environment", "HOST", "db", "elsewhere"),
        Drift("environment", "PATH", "/bin", "(unset)"),
    ]


def test_secrets_are_masked_declared_or_only_called_so() -> None:
    found = environment_drift(WEB, {}, {"HOST": "db", "PIN": "9999", "MY_API_TOKEN": "abc"})
    assert [item.name for item in found] == ["MY_API_TOKEN", "PIN"]
    assert not any(secret in repr(found) for secret in ("1234", "9999", "abc"))


def test_a_launched_program_may_show_either_command_line() -> None:
    launched = WEB.model_copy(update={"becomes": ("web", "-D", "x")})
    assert command_drift(launched, ("python", "-m", "web")) == []
    assert command_drift(launched, ("web", "-D", "x")) == []
    assert command_drift(launched, ("web", "-D", "y")) == [Drift("command", "web", "python -m web", "web -D y")]


@pytest.mark.parametrize("pid", [None, os.getpid()], ids=["between two starts", "between fork and exec"])
def test_what_a_process_that_ends_at_every_start_was_given_is_compared_whenever_it_is_looked_at(
    pid: int | None, tmp_path: Path
) -> None:
    """Else it would count as declared at the moments at which none of its short lives is met."""
    given = ProgramInfo("web", "STARTING", pid, 1, "", 1.0, 3, {**WEB.environment, "HOST": "nowhere"}, ("python", "x"))
    found = _workload(Home(tmp_path), World(base_environment={}, programs=(WEB,)), WEB, given, {})
    assert found.drift == (
        Drift("command", "web", "python -m web", "python x"),
        Drift("environment", "HOST", "db", "nowhere"),
    )
    declared = replace(given, environment=dict(WEB.environment), command=WEB.command)
    assert _workload(Home(tmp_path), World(base_environment={}, programs=(WEB,)), WEB, declared, {}).drift == ()


# -- supervisor configuration


@pytest.mark.parametrize("value", ["plain", "a,b=c", "it's", "100%", "x;y#z", "postgresql://a:b@h:1/d", "-", ""])
def test_values_are_read_back_by_supervisord_as_they_were(value: str) -> None:
    parsed = dict_of_key_value_pairs(f"A={quote(value)},B={quote('next')}")
    assert {name: text % {} for name, text in parsed.items()} == {"A": value, "B": "next"}


@pytest.mark.parametrize("value", ['say "x"', "two\nlines", "cut ;here", "cut #here"])
def test_values_that_supervisord_would_garble_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="supervisord"):
        quote(value)


def test_the_shop_stays_down_and_the_control_plane_comes_back() -> None:
    def parsed(keep_alive: bool) -> configparser.SectionProxy:
        parser = configparser.RawConfigParser()
        section = Section("web", ("python", "-c", "print(1)"), {"A": "1"}, keep_alive=keep_alive)
        parser.read_string(render_program(section, Path("/l/web.log"), Path("/l")))
        return parser["program:web"]

    assert parsed(False)["autorestart"] == "false"
    assert parsed(True)["autorestart"] == "true"
    assert parsed(True)["command"] == "python -c 'print(1)'"


# -- ledger


def _row(key: str, phase: str = "intent", at_us: int = 1) -> Row:
    return Row(key, "web", "restart", "intent" if phase == "intent" else "done", at_us, "said")


def test_the_ledger_knows_what_was_begun_and_what_was_done(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "effects.jsonl")
    for row in (_row("a"), _row("a", "done"), _row("b")):
        ledger.append(row)
    assert ledger.begun() == (("a", "web", "restart"), ("b", "web", "restart"))
    assert ledger.past("a").done == _row("a", "done")
    assert ledger.past("b").done is None
    assert ledger.past("b").intent == _row("b")
    assert ledger.past("c").intent is None


def test_a_row_cut_by_a_crash_is_skipped_and_the_next_one_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "effects.jsonl"
    Ledger(path).append(_row("a"))
    with path.open("ab") as file:
        file.write(b'{"key": "b", "work')
    Ledger(path).append(_row("c"))
    assert [key for key, _, _ in Ledger(path).begun()] == ["a", "c"]


# -- home


def test_a_home_too_deep_for_a_socket_is_refused_with_the_room_there_is(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match=r"too long .* at most 8\d bytes"):
        layout(tmp_path / ("x" * 120))
    home = layout(Path("/srv/triage"))
    assert len(str(home.supervisor_socket)) <= 107


@pytest.mark.parametrize("name", ["a;b", 'a"b', "100%", "a\nb", "a#b"])
def test_a_home_that_configurations_cannot_name_is_refused(name: str) -> None:
    with pytest.raises(HomeError, match="may not contain"):
        layout(Path("/srv") / name)


def test_secrets_and_passphrase_are_drawn_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    assert ensure_secrets(path) == ensure_secrets(path)
    assert path.stat().st_mode & 0o777 == 0o600
    phrase = tmp_path / "passphrase"
    assert ensure_passphrase(phrase) == ensure_passphrase(phrase)
    assert phrase.stat().st_mode & 0o777 == 0o600
    phrase.write_text("my own\nsecond line\n")
    assert ensure_passphrase(phrase) == "my own"


def test_a_home_of_a_version_without_the_operators_login_gets_one_when_it_goes_up(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = ensure_secrets(path)
    old = {name: value for name, value in first.model_dump().items() if name != "audit_operator_password"}
    path.write_text(json.dumps(old))
    assert read_secrets(path).shop_admin_password == first.shop_admin_password
    assert json.loads(path.read_text()) == old, "who only looks draws nothing"
    drawn = ensure_secrets(path)
    assert drawn == ensure_secrets(path) == read_secrets(path)
    assert len({first.audit_operator_password, drawn.audit_operator_password, drawn.audit_db_password}) == 3
    # The operator knew the auditor's password: it is drawn anew, too.
    changed = {name for name, value in drawn.model_dump().items() if value != first.model_dump()[name]}
    assert changed == {"audit_operator_password", "audit_db_password"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_home_of_before_the_runbooks_gets_their_password_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    drawn = json.loads(ensure_secrets(path).encode())
    drawn.pop("runbooks_db_password")
    path.write_text(json.dumps(drawn))
    later = ensure_secrets(path)
    assert json.loads(later.encode()).items() >= drawn.items()
    assert len(later.runbooks_db_password) == 48
    assert ensure_secrets(path) == later
    assert path.stat().st_mode & 0o777 == 0o600


def test_damaged_secrets_and_an_empty_passphrase_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{}")
    for reads in (ensure_secrets, read_secrets):
        with pytest.raises(HomeError, match="cannot be used"):
            reads(tmp_path / "secrets.json")
    (tmp_path / "passphrase").write_text("")
    with pytest.raises(HomeError, match="empty"):
        ensure_passphrase(tmp_path / "passphrase")


def test_a_missing_or_damaged_declaration_means_that_no_platform_is_there(tmp_path: Path) -> None:
    with pytest.raises(PlatformDownError, match="no stack"):
        load_world(tmp_path / "world.json")
    (tmp_path / "world.json").write_text('{"base_environment": {}}')
    with pytest.raises(PlatformDownError, match="damaged"):
        load_world(tmp_path / "world.json")


@pytest.mark.parametrize("base", [0, 80, 65_500])
def test_a_first_port_without_room_is_refused(base: int) -> None:
    with pytest.raises(StackError, match="first port"):
        require_base(base)


# -- programs


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    home = Layout(tmp_path)
    return Plan(home, 20_000, ensure_secrets(home.secrets), caller={"TRIAGE_MODEL_URL": "http://m", "AWS_KEY": "no"})


def test_every_port_of_the_stack_belongs_to_one_program(plan: Plan) -> None:
    two = Plan(plan.layout, plan.port_base, plan.secrets, schedulers=2, page=True)
    taken = [port for unit in units(two) for port in unit.ports]
    assert sorted(taken) == sorted(20_000 + offset for offset in OFFSETS.values())


def test_roles_get_their_settings_and_nothing_else_of_the_caller(plan: Plan) -> None:
    by_name = {unit.name: unit.section.environment for unit in units(plan)}
    assert by_name["planner-1"]["TRIAGE_MODEL_URL"] == "http://m"
    assert by_name["planner-1"]["TRIAGE_ROLE"] == "planner"
    assert not any("AWS_KEY" in environment for environment in by_name.values())
    audit = {name: env["TRIAGE_AUDIT_DSN"] for name, env in by_name.items() if "TRIAGE_AUDIT_DSN" in env}
    assert audit.keys() == {"auditor-1", "runbook-agent-1"}
    assert audit["auditor-1"].startswith("postgresql://auditor:")
    assert audit["runbook-agent-1"].startswith("postgresql://runbooks:"), "a user that sees two views of it"
    runbooks = [name for name, env in by_name.items() if "TRIAGE_RUNBOOKS_DSN" in env]
    assert runbooks == ["runbook-agent-1"]
    assert "scheduler-2" not in by_name
    assert by_name["auditor-1"]["TRIAGE_AUDIT_DSN"] == plan.audit_dsn
    assert plan.audit_operator_dsn not in str(by_name)
    assert plan.runbooks_operator_dsn.startswith(f"postgresql://operator:{plan.secrets.audit_operator_password}@")
    assert plan.runbooks_operator_dsn not in str(by_name)


class TestPage:
    """The dashboard as a program: there when asked for, on the stack's own port, and needed by nobody."""

    def test_it_follows_the_first_port_and_stays_on_loopback_whatever_the_caller_says(self, plan: Plan) -> None:
        caller = {"TRIAGE_DASHBOARD_HOST": "::", "TRIAGE_DASHBOARD_PORT": "9", "TRIAGE_MODEL_URL": "http://m"}
        asked = Plan(plan.layout, 20_000, plan.secrets, caller=caller, page=True)
        unit = units(asked)[-1]
        assert (unit.name, unit.tier, unit.port) == ("dashboard", "page", 20_080)
        assert asked.dashboard_url == "http://127.0.0.1:20080/"
        assert unit.section.environment == {
            "TRIAGE_HOME": str(plan.layout.root),
            "TRIAGE_DASHBOARD_HOST": "127.0.0.1",
            "TRIAGE_DASHBOARD_PORT": "20080",
        }

    def test_the_default_stacks_own_is_where_a_lone_one_would_be(self) -> None:
        assert port(DEFAULT_BASE, "dashboard") == Settings.model_fields["dashboard_port"].default

    def test_a_stack_has_none_unless_it_is_asked_for(self, plan: Plan) -> None:
        assert "page" not in {unit.tier for unit in units(plan)}

    def test_a_taken_port_does_not_keep_the_stack_down(self, plan: Plan) -> None:
        unit = units(Plan(plan.layout, 20_000, plan.secrets, page=True))[-1]
        with socket.create_server(("127.0.0.1", 0)) as taken:
            ports = (taken.getsockname()[1],)
            require_free([replace(unit, ports=ports)])
            with pytest.raises(PortInUseError):
                require_free([replace(unit, ports=ports, tier="role")])

    def test_one_that_fails_is_started_again_ever_later(self, plan: Plan) -> None:
        unit = units(Plan(plan.layout, 20_000, plan.secrets, page=True))[-1]
        text = render_program(unit.section, Path("dashboard.log"), plan.layout.root)
        assert "startsecs=15" in text
        assert "autorestart=true" in text

    @pytest.mark.parametrize(("sick", "healthy"), [("dashboard", True), ("nats", False)])
    def test_a_stack_is_whole_without_it(self, sick: str, healthy: bool) -> None:
        tiers: dict[str, Tier] = {"nats": "server", "dashboard": "page"}
        rows = tuple(
            ProgramStatus(name, tier, "RUNNING", 1, name != sick, "", 0, None, 0) for name, tier in tiers.items()
        )
        status = StackStatus(Path("/"), 20_000, None, rows, "http://127.0.0.1:20080/")
        assert status.healthy is healthy
        assert [row.name for row in status.needed] == ["nats"]

    def test_a_record_of_a_stack_from_before_it_reads_as_one_without(self) -> None:
        old = b'{"port_base":17400,"schedulers":1,"roles":true,"supervisord_pid":1,"since_us":2}'
        assert StackRecord.decode(old).page is False


def test_no_workload_sees_the_control_plane(plan: Plan) -> None:
    declared = world(plan, base_environment(plan.layout, "/bin", "/", None))
    for program in declared.programs:
        assert not [name for name in program.environment if name.startswith("TRIAGE_")]
        assert program.environment["SHOP_SCOPE"] == program.name


def test_a_saved_declaration_reads_back_and_is_private(plan: Plan) -> None:
    declared = world(plan, {"PATH": "/bin"})
    declared.save(plan.layout.world)
    assert load_world(plan.layout.world) == declared
    assert plan.layout.world.stat().st_mode & 0o777 == 0o600
