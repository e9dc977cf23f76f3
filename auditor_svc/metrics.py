"""What the auditor counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from auditor_svc.chain import ACCEPTED
from auditor_svc.store import Batch
from broker.errors import REFUSALS


class AuditMetrics:
    """Counters of one auditor, in the role's registry or one of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.rows = Counter("triage_audit_rows_total", "Messages audited.", registry=registry)
        self.refused = Counter(
            "triage_audit_refused_total", "Messages audited as refused, by name.", ["reason"], registry=registry
        )
        self.checkpoints = Counter("triage_audit_checkpoints_total", "Checkpoints signed.", registry=registry)
        self.lag = Gauge("triage_audit_lag_rows", "Messages read and not yet in the database.", registry=registry)
        self.journal_seq = Gauge("triage_audit_journal_seq", "Journal sequence of the last row.", registry=registry)
        self.chain_ok = Gauge(
            "triage_audit_chain_ok",
            "1 if the chain fitted its last checkpoint when it was taken up.",
            registry=registry,
        )

        for refusal in REFUSALS:
            self.refused.labels(refusal.name)

    def count(self, batch: Batch) -> None:
        """Count what was committed."""
        self.rows.inc(len(batch.rows))
        self.checkpoints.inc(len(batch.checkpoints))
        for row in batch.rows:
            if row.verdict != ACCEPTED:
                self.refused.labels(row.verdict).inc()
