"""The control plane: incidents and how fast they end, plans and tasks, lost workers, envelopes, the audit chain."""

from __future__ import annotations

from typing import Any, Final

from deploy.grafana.panels import BAD, FAIR, GOOD, Dashboard, Panel, Query, Row, Variable, stat

OF_ROLES: Final = '{service=~"$role"}'


def _quantiles(metric: str, by: str, legend: str, window: str = "$__range") -> tuple[Query, ...]:
    group = f"{by}, le" if by else "le"
    buckets = f"sum by ({group}) (rate({metric}_bucket[{window}]))"
    shares = ((0.5, "p50"), (0.95, "p95"))
    return tuple(Query(f"histogram_quantile({share}, {buckets})", f"{legend} {name}".strip()) for share, name in shares)


def _over_range(metric: str, by: str) -> Query:
    return Query(f"sum by ({by}) (increase({metric}[$__range]))", f"{{{{{by}}}}}")


def _counts(title: str, queries: tuple[Query, ...], about: str, **more: Any) -> Panel:
    """Return bars of how often something happened in the time that is shown."""
    shape: dict[str, Any] = {"kind": "bargauge", "width": 6}
    return Panel(title, "short", queries, about, **(shape | more))


NOW: Final = Row(
    "Now",
    (
        stat(
            "Incidents open",
            "short",
            "max(triage_incidents_open)",
            "Reported and not closed; of several, one is worked on and the others are merged.",
            steps=((None, GOOD), (1.0, FAIR)),
        ),
        stat(
            "Plan version",
            "short",
            "max(triage_plan_version)",
            "Version of the plan being carried out; above 1 the first diagnosis did not hold.",
            steps=((None, GOOD), (2.0, FAIR), (4.0, BAD)),
        ),
        stat("Tasks in flight", "short", "max(triage_tasks_in_flight)", "Ordered and not ended."),
        stat(
            "Kill switch",
            "short",
            "max(triage_halted)",
            "While it is on nothing acts; reading goes on.",
            words={0: ("off", GOOD), 1: ("ON", BAD)},
            steps=((None, GOOD), (1.0, BAD)),
        ),
        stat(
            "Roles that answer",
            "percentunit",
            'sum(up{job="roles"}) / count(up{job="roles"})',
            "Share of the known processes of all roles that answer Prometheus.",
            steps=((None, BAD), (1.0, GOOD)),
            high=1.0,
        ),
        stat(
            "Audit chain",
            "short",
            "min(triage_audit_chain_ok)",
            "Whether the chain fitted its last signed checkpoint when the auditor took it up.",
            words={0: ("BROKEN", BAD), 1: ("whole", GOOD)},
            steps=((None, BAD), (1.0, GOOD)),
        ),
    ),
)

INCIDENTS: Final = Row(
    "Incidents in the time that is shown",
    (
        _counts(
            "How they ended",
            (_over_range("triage_incidents_closed_total", "verdict"),),
            "verified: repaired and proved. no_fault: nothing deviated. unresolved: people must look.",
        ),
        _counts(
            "Who reported them",
            (_over_range("triage_incidents_reported_total", "source"),),
            "monitor: nobody had reported what it saw within the grace period.",
        ),
        _counts(
            "What deviated",
            (_over_range("triage_deviations_total", "kind"),),
            "Deviations that the monitor said in incidents.",
        ),
        Panel(
            "Time to recovery",
            "s",
            _quantiles("triage_incident_recovery_seconds", "", ""),
            "From the report to the verified end, of the incidents in the time shown; NaN until one ended verified.",
            kind="stat",
            width=6,
            steps=((None, GOOD), (60.0, FAIR), (180.0, BAD)),
        ),
        Panel(
            "Open incidents and plan version",
            "short",
            (
                Query("max(triage_incidents_open)", "incidents open"),
                Query("max(triage_plan_version)", "plan version"),
                Query("max(triage_tasks_in_flight)", "tasks in flight"),
            ),
            "The course of an incident.",
            width=12,
        ),
        Panel(
            "Deviations and checks",
            "short",
            (
                Query("sum by (kind) (increase(triage_deviations_total[1m]))", "{{kind}}"),
                Query("sum by (outcome) (increase(triage_checks_total[1m]))", "check {{outcome}}"),
            ),
            "Per minute. A check looks at the world for a whole window before it says ok.",
            width=12,
        ),
    ),
)

WORK: Final = Row(
    "Plans and tasks",
    (
        _counts(
            "Plans",
            (
                Query("sum(increase(triage_plans_requested_total[$__range]))", "requested"),
                Query("sum by (origin) (increase(triage_plans_proposed_total[$__range]))", "proposed by {{origin}}"),
                Query("sum by (verdict) (increase(triage_plans_judged_total[$__range]))", "{{verdict}}"),
                Query("sum(increase(triage_approvals_requested_total[$__range]))", "tasks that waited for approval"),
            ),
            "Who made them and what the scheduler said.",
        ),
        _counts(
            "Tasks ordered",
            (_over_range("triage_tasks_ordered_total", "kind"),),
            "Attempts by kind of agent.",
        ),
        _counts(
            "Tasks ended",
            (_over_range("triage_tasks_ended_total", "outcome"),),
            "fail: tried again, then another plan. dead: no agent finished it.",
        ),
        _counts(
            "Where metrics came from",
            (
                Query(
                    "sum by (source, outcome) (increase(triage_metric_questions_total[$__range]))",
                    "{{source}} {{outcome}}",
                ),
            ),
            "Metric agents ask Prometheus first and take the journal's telemetry when it has no answer.",
        ),
        Panel(
            "Duration of tasks",
            "s",
            _quantiles("triage_task_duration_seconds", "kind", "{{kind}}", "5m"),
            "From the order to the result, by kind of agent; a gap: there were none in five minutes.",
        ),
        Panel(
            "Wait for an agent",
            "s",
            _quantiles("triage_task_wait_seconds", "kind", "{{kind}}", "5m"),
            "From the order to the first claim. Grows when all agents of a kind are busy.",
        ),
        Panel(
            "Work of each process",
            "short",
            (
                Query(
                    f"sum by (service, instance, outcome) (increase(triage_work_total{OF_ROLES}[1m]))",
                    "{{service}} {{instance}} {{outcome}}",
                ),
            ),
            "Orders ended per minute: how the work spreads over scaled agents.",
            stacked=True,
        ),
    ),
)

REASSIGNMENT: Final = Row(
    "Lost workers",
    (
        _counts(
            "Workers lost",
            (_over_range("triage_agents_lost_total", "role"),),
            "Connections that ended, by role; a container that is scaled away counts too.",
        ),
        _counts(
            "Tasks that another worker took",
            (Query("sum(increase(triage_reassign_seconds_count[$__range]))", "taken over"),),
            "Tasks whose worker was lost with them in hand.",
        ),
        Panel(
            "Until another worker has it",
            "s",
            (
                Query("histogram_quantile(0.5, sum by (le) (rate(triage_reassign_seconds_bucket[$__range])))", "p50"),
                Query("histogram_quantile(0.99, sum by (le) (rate(triage_reassign_seconds_bucket[$__range])))", "p99"),
            ),
            "From the word that the worker is lost to the next claim; NaN until a worker was lost with a task in hand.",
            kind="stat",
            width=6,
            steps=((None, GOOD), (0.25, FAIR), (1.0, BAD)),
        ),
        Panel(
            "Redelivered, fenced",
            "short",
            (
                Query("sum(increase(triage_redeliveries_total[1m]))", "came again"),
                Query("sum(increase(triage_fenced_total[1m]))", "fenced"),
            ),
            "Fenced: a worker thought dead came back, and its result was refused.",
            width=6,
        ),
    ),
)

ENVELOPES: Final = Row(
    "Envelopes and audit",
    (
        Panel(
            "Signed",
            "mps",
            (
                Query(
                    f"sum by (service) (rate(triage_envelopes_signed_total{OF_ROLES}[$__rate_interval]))",
                    "{{service}}",
                ),
            ),
            "Messages sealed per second, by role.",
        ),
        Panel(
            "Let in",
            "mps",
            (
                Query(
                    f"sum by (service) (rate(triage_envelopes_accepted_total{OF_ROLES}[$__rate_interval]))",
                    "{{service}}",
                ),
            ),
            "Messages the gates accepted per second; every reader has a gate of its own.",
        ),
        _counts(
            "Refused, by name",
            (_over_range("triage_audit_refused_total", "reason"),),
            "As the auditor names them: each message of the journal once. Anything here needs a look.",
            width=8,
            steps=((None, GOOD), (1.0, BAD)),
        ),
        Panel(
            "Audited",
            "mps",
            (Query("sum(rate(triage_audit_rows_total[$__rate_interval]))", "messages into the chain"),),
            "Messages chained per second: as many as the journal stores.",
        ),
        Panel(
            "Behind the journal",
            "short",
            (
                Query("max(triage_audit:behind_messages)", "journal, not audited"),
                Query("max(triage_audit_lag_rows)", "read, not in the database"),
                Query("max by (service) (triage_host_lag_events)", "{{service}}: read, not decided"),
            ),
            "Of the auditor and of the machines. The database being away shows here and loses nothing.",
        ),
        Panel(
            "Checkpoints and commands",
            "short",
            (
                Query("sum(increase(triage_audit_checkpoints_total[1m]))", "checkpoints signed"),
                Query(f"sum by (outcome) (increase(triage_commands_total{OF_ROLES}[1m]))", "commands {{outcome}}"),
                Query("sum(increase(triage_divergences_total[1m]))", "divergences"),
            ),
            "Per minute. already_there: the other scheduler was faster and said the same.",
        ),
    ),
)

PLATFORM: Final = Row(
    "Platform proxy",
    (
        Panel(
            "Calls",
            "reqps",
            (
                Query(
                    "sum by (client, verb) (rate(triage_platform_calls_total[$__rate_interval]))",
                    "{{client}} {{verb}}",
                ),
            ),
            "What agents and the injector ask of Docker, through the only process that sees its socket.",
        ),
        Panel(
            "Duration of calls, 95th percentile",
            "s",
            (
                Query(
                    "histogram_quantile(0.95,"
                    " sum by (verb, le) (rate(triage_platform_call_duration_seconds_bucket[5m])))",
                    "{{verb}}",
                ),
            ),
            "By verb; a gap: there were none in five minutes.",
        ),
        _counts(
            "Refused, and events",
            (
                Query("sum(increase(triage_platform_refused_total[$__range])) or vector(0)", "refused"),
                Query("sum by (happening) (increase(triage_platform_events_total[$__range]))", "{{happening}}"),
            ),
            "Calls that the walls refused; and what Docker said of workloads: died, out of memory, unhealthy.",
            width=8,
            steps=((None, GOOD), (1.0, FAIR)),
        ),
    ),
)

PROCESSES: Final = Row(
    "Processes: $role",
    (
        Panel(
            "Ready",
            "short",
            (Query(f"min by (service, instance) (triage_health_check{OF_ROLES})", "{{service}} {{instance}}"),),
            "Whether every check behind /healthz holds.",
            kind="state-timeline",
            height=9,
            words={0: ("not ready", BAD), 1: ("ready", GOOD)},
            steps=((None, BAD), (1.0, GOOD)),
        ),
        Panel(
            "Memory",
            "bytes",
            (Query(f"process_resident_memory_bytes{OF_ROLES}", "{{service}} {{instance}}"),),
            "Resident memory of each process.",
            height=9,
        ),
        Panel(
            "Cores",
            "cores",
            (
                Query(
                    f"rate(process_cpu_seconds_total{OF_ROLES}[$__rate_interval])",
                    "{{service}} {{instance}}",
                ),
            ),
            "Processor time of each process.",
            height=9,
        ),
    ),
)

DASHBOARD: Final = Dashboard(
    uid="triage-control",
    title="Control plane",
    about="Incidents, plans, tasks, lost workers, envelopes and the audit chain.",
    rows=(NOW, INCIDENTS, WORK, REASSIGNMENT, ENVELOPES, PLATFORM, PROCESSES),
    variables=(Variable("role", "Role", "triage_build_info", "service"),),
)
