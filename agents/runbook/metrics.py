"""What /metrics shows of the runbook agent."""

from __future__ import annotations

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

Used = Literal["text", "text_vector", "memory"]
"""How a search was ranked: by full text, by full text and vectors, or in memory because the database was away."""


class RunbookMetrics:
    """Counters and gauges; without a registry they count for nobody."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.searches = Counter(
            "triage_runbook_searches_total",
            "Searches: by full text alone, with vectors too, or in memory because the database was away.",
            ["kind"],
            registry=registry,
        )
        self.documents = Gauge(
            "triage_runbook_documents", "Runbooks and past incidents that are searched.", ["kind"], registry=registry
        )
        self.refused = Gauge(
            "triage_runbook_files_refused", "Files that are no runbook, as of the last look.", registry=registry
        )
        self.refusals = Counter(
            "triage_runbook_refusals_total", "Files refused, each once for what it holds.", registry=registry
        )
        self.embeddings = Counter(
            "triage_runbook_embeddings_total",
            "Requests for vectors to the endpoint: answered or failed.",
            ["outcome"],
            registry=registry,
        )
        for used in get_args(Used):
            self.searches.labels(used)
        for kind in ("runbook", "incident"):
            self.documents.labels(kind)
        for outcome in ("answered", "failed"):
            self.embeddings.labels(outcome)
