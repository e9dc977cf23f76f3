"""Which programs a stack consists of. Pure: plan in, supervisor sections and the declared world out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from broker.contracts.inventory import Probe
from broker.subjects import Role
from deploy.embedded import postgres, servers
from deploy.embedded.layout import Layout
from deploy.status import Tier
from deploy.vault import Secrets
from services.inventory.declared import CACHE_SETTINGS, CONSUMERS, GRANTS, INDEXES, MESSAGES, Declared, declare
from services.inventory.ports import LINKS, port
from services.platform.embedded.home import SCOPE, STACK_MARKER
from services.platform.embedded.sections import Section
from services.platform.embedded.world import Link, Program, World

HOST = "127.0.0.1"
DASHBOARD = "dashboard"
PAGE_SETTLED_S = 15
"""Its imports alone take a second or two: one that fails after them must not be started again without end."""

PASSED_ON = (
    *(
        "TRIAGE_PLANNER_MODE",
        "TRIAGE_REPORT_GRACE_S",
        "TRIAGE_AUTO_APPROVE",
        "TRIAGE_MAX_QUESTIONS",
        "TRIAGE_QUESTION_TIMEOUT_S",
        "TRIAGE_LOG_LEVEL",
        "TRIAGE_CONFIG",
    ),
    "TRIAGE_RUNBOOKS_DIR",
    "TRIAGE_RULEBOOK_DIR",
)
"""Settings of the caller's environment that roles inherit, besides TRIAGE_MODEL_* and TRIAGE_EMBEDDING_*."""

PAGE_PASSED_ON = ("TRIAGE_CONFIG", "TRIAGE_LOG_LEVEL", "TRIAGE_DASHBOARD_TOKEN_FILE")
"""Those that the dashboard inherits."""

ROLES: tuple[tuple[str, Role, str], ...] = (
    ("scheduler-1", "scheduler", "scheduler_svc"),
    ("scheduler-2", "scheduler", "scheduler_svc"),
    ("planner-1", "planner", "planner_svc"),
    ("monitor-1", "monitor", "monitor_svc"),
    ("sensors-1", "sensors", "monitor_svc.sensors"),
    ("auditor-1", "auditor", "auditor_svc"),
    ("log-agent-1", "log", "agents.log"),
    ("log-agent-2", "log", "agents.log"),
    ("metric-agent-1", "metric", "agents.metric"),
    ("metric-agent-2", "metric", "agents.metric"),
    ("action-agent-1", "action", "agents.action"),
    ("action-agent-2", "action", "agents.action"),
    ("runbook-agent-1", "runbook", "agents.runbook"),
)
"""Instance, role, module of every role process."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of a stack."""

    layout: Layout
    port_base: int
    secrets: Secrets
    schedulers: int = 1
    roles: bool = True
    caller: Mapping[str, str] | None = None
    """The caller's environment, of which settings are passed on."""
    page: bool = False
    """Whether the dashboard belongs to it."""

    def port(self, name: str) -> int:
        """Return the port of a program."""
        return port(self.port_base, name)

    @property
    def nats_url(self) -> str:
        """Where the control plane's broker is."""
        return f"nats://{HOST}:{self.port('nats')}"

    @property
    def dashboard_url(self) -> str:
        """Where people find the dashboard."""
        return f"http://{HOST}:{self.port(DASHBOARD)}/"

    @property
    def audit_dsn(self) -> str:
        """The auditor's own database, as the auditor comes to it."""
        return postgres.dsn(self.port("audit-db"), "auditor", self.secrets.audit_db_password, "auditor")

    @property
    def audit_operator_dsn(self) -> str:
        """The same as people's commands come to it: they read, and add scenario runs."""
        password = self.secrets.audit_operator_password
        return postgres.dsn(self.port("audit-db"), "operator", password, "auditor")

    @property
    def audit_admin_dsn(self) -> str:
        """Connection string of the owner of the audit store's tables."""
        password = self.secrets.audit_admin_password
        return postgres.dsn(self.port("audit-db"), postgres.ADMIN, password, "auditor")

    @property
    def runbooks_dsn(self) -> str:
        """The runbooks' database, for the one role that changes its rows."""
        password = self.secrets.runbooks_db_password
        return postgres.dsn(self.port("audit-db"), "runbooks", password, "runbooks")

    @property
    def runbooks_operator_dsn(self) -> str:
        """The same as people's commands come to it: they read."""
        password = self.secrets.audit_operator_password
        return postgres.dsn(self.port("audit-db"), "operator", password, "runbooks")

    @property
    def learning_dsn(self) -> str:
        """The same role's way to the two views of the audit store that it may read."""
        password = self.secrets.runbooks_db_password
        return postgres.dsn(self.port("audit-db"), "runbooks", password, "auditor")

    @property
    def shop_admin_dsn(self) -> str:
        """The administrator's way into the shop's database."""
        return postgres.dsn(self.port("shop-db"), postgres.ADMIN, self.secrets.shop_admin_password, postgres.ADMIN)


@dataclass(frozen=True, slots=True)
class Unit:
    """One program: how it is supervised, and how one asks whether it is healthy."""

    section: Section
    tier: Tier
    probe: Probe
    port: int
    ports: tuple[int, ...]
    """Every port it listens on."""

    @property
    def name(self) -> str:
        """Name of the program."""
        return self.section.name


def units(plan: Plan) -> tuple[Unit, ...]:
    """Return every program of the stack, in the order they are listed to people."""
    roles = (_role(plan, *row) for row in ROLES if plan.roles and _wanted(row[0], plan.schedulers))
    page = (_page(plan),) if plan.page else ()
    workloads = (_workload(plan, item) for item in declared(plan))
    return (*_control_servers(plan), *roles, _links(plan), *workloads, *page)


def declared(plan: Plan) -> tuple[Declared, ...]:
    """Return the shop's declaration for this stack."""
    return declare(plan.port_base, plan.secrets.model_dump())


def world(plan: Plan, base_environment: Mapping[str, str]) -> World:
    """Return the declaration that the platform adapter reconciles to."""
    return World(
        base_environment=dict(base_environment),
        programs=tuple(_program(plan, item) for item in declared(plan)),
        links=tuple(_link(plan, source, destination) for source, destination in LINKS),
        links_port=plan.port("links"),
    )


def base_environment(layout: Layout, path: str, user_home: str, python_path: str | None) -> dict[str, str]:
    """Return what every process of the stack inherits: nothing of the caller's environment but this."""
    return {
        "PATH": path,
        "HOME": user_home,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        STACK_MARKER: str(layout.root),
        **({"PYTHONPATH": python_path} if python_path else {}),
    }


def _wanted(instance: str, schedulers: int) -> bool:
    return instance != "scheduler-2" or schedulers > 1


def _control_servers(plan: Plan) -> tuple[Unit, ...]:
    nats, monitoring, audit = plan.port("nats"), plan.port("nats-monitoring"), plan.port("audit-db")
    command, _ = postgres.server_command(plan.layout.data("audit-db"), audit)
    config = plan.layout.data("nats") / "nats.conf"
    broker = Section("nats", servers.nats_command(config), keep_alive=True)
    store = Section("audit-db", command, keep_alive=True, stop_signal="INT")
    return (
        Unit(broker, "server", "nats", nats, (nats, monitoring)),
        Unit(store, "server", "postgres", audit, (audit,)),
    )


def _role(plan: Plan, instance: str, role: Role, module: str) -> Unit:
    where = plan.port(instance)
    environment = {
        **_passed_on(plan.caller or {}),
        "TRIAGE_HOME": str(plan.layout.root),
        "TRIAGE_ROLE": role,
        "TRIAGE_INSTANCE": instance,
        "TRIAGE_NATS_URL": plan.nats_url,
        "TRIAGE_METRICS_PORT": str(where),
        **_databases(plan, role),
    }
    section = Section(instance, (sys.executable, "-m", module), environment, keep_alive=True)
    return Unit(section, "role", "http", where, (where,))


def _page(plan: Plan) -> Unit:
    """The dashboard: on loopback, whatever the settings say, and with the operator's keys, as docs/adr/0024 argues."""
    where = plan.port(DASHBOARD)
    caller = plan.caller or {}
    environment = {
        **{name: caller[name] for name in PAGE_PASSED_ON if caller.get(name)},
        "TRIAGE_HOME": str(plan.layout.root),
        "TRIAGE_DASHBOARD_HOST": HOST,
        "TRIAGE_DASHBOARD_PORT": str(where),
    }
    command = (sys.executable, "-m", "dashboard.api")
    section = Section(DASHBOARD, command, environment, keep_alive=True, settled_s=PAGE_SETTLED_S)
    return Unit(section, "page", "http", where, (where,))


def _databases(plan: Plan, role: Role) -> dict[str, str]:
    if role == "auditor":
        return {"TRIAGE_AUDIT_DSN": plan.audit_dsn}
    if role == "runbook":
        return {"TRIAGE_RUNBOOKS_DSN": plan.runbooks_dsn, "TRIAGE_AUDIT_DSN": plan.learning_dsn}
    return {}


def _passed_on(caller: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in caller.items()
        if value and (name in PASSED_ON or name.startswith(("TRIAGE_MODEL_", "TRIAGE_EMBEDDING_")))
    }


def _links(plan: Plan) -> Unit:
    environment = {"TRIAGE_HOME": str(plan.layout.root)}
    command = (sys.executable, "-m", "services.platform.links")
    section = Section("links", command, environment, keep_alive=True)
    admin = plan.port("links")
    ports = (admin, *(plan.port(f"{source}--{destination}") for source, destination in LINKS))
    return Unit(section, "server", "http", admin, ports)


def _workload(plan: Plan, item: Declared) -> Unit:
    command, _ = _command(plan, item)
    stop = "INT" if item.probe == "postgres" else "TERM"  # PostgreSQL: INT ends sessions, TERM waits for them
    section = Section(item.name, command, _environment(item), stop_signal=stop)
    where = plan.port(item.name)
    ports = (where, plan.port("shop-mq-monitoring")) if item.name == "shop-mq" else (where,)
    return Unit(section, "shop" if item.command else "server", item.probe, where, ports)


def _program(plan: Plan, item: Declared) -> Program:
    command, becomes = _command(plan, item)
    return Program(
        name=item.name,
        command=command,
        becomes=becomes,
        environment=_environment(item),
        secrets=item.secrets,
        managed=item.managed,
        probe=item.probe,
        host=HOST,
        port=plan.port(item.name),
        admin=plan.shop_admin_dsn if item.probe == "postgres" else "",
        settings=dict(CACHE_SETTINGS) if item.probe == "valkey" else {},
        grants=GRANTS if item.probe == "postgres" else (),
        indexes=INDEXES if item.probe == "postgres" else (),
        messages=MESSAGES if item.probe == "nats" else (),
        consumers=CONSUMERS if item.probe == "nats" else (),
    )


def _environment(item: Declared) -> dict[str, str]:
    return {**item.environment, SCOPE: item.name}


def _command(plan: Plan, item: Declared) -> tuple[tuple[str, ...], tuple[str, ...]]:
    folder = plan.layout.data(item.name)
    if item.command:
        return item.command, ()
    if item.probe == "postgres":
        return postgres.server_command(folder, plan.port(item.name))
    if item.probe == "valkey":
        return servers.valkey_command(folder / "valkey.conf"), ()
    return servers.nats_command(folder / "nats.conf"), ()


def _link(plan: Plan, source: str, destination: str) -> Link:
    name = f"{source}--{destination}"
    return Link(source=source, destination=destination, port=plan.port(name), target_port=plan.port(destination))
