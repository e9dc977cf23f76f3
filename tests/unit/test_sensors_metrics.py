"""What /metrics shows of the sensors and of a service's requests, and what health checks look like there."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest

from broker.contracts.telemetry import Metrics, Status, Telemetry
from broker.runtime.metrics import Health, HealthMetrics
from monitor_svc.sensors.service import MEASURED, SensorMetrics
from services.shop import metrics as shop


def sample(status: Status, metrics: Metrics) -> Telemetry:
    return Telemetry(device_id="orders", timestamp=datetime.now(UTC), status=status, metrics=metrics)


def test_a_sample_is_shown_in_base_units() -> None:
    registry = CollectorRegistry()
    measured = Metrics(cpu_load=0.5, mem_usage=2_048.0, latency_ms=120.0, success_ratio=0.9, request_rate=20.0)
    SensorMetrics(registry).show(sample("WARN", measured))

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"triage_device_{name}", {"device": "orders"})

    assert value("latency_seconds") == 0.12
    assert value("memory_bytes") == 2_048.0
    assert value("cpu_cores") == 0.5
    assert value("success_ratio") == 0.9
    assert value("requests_per_second") == 20.0
    assert value("status") == 1


def test_what_a_sample_did_not_measure_is_not_shown_as_it_was_before() -> None:
    registry = CollectorRegistry()
    shown = SensorMetrics(registry)
    shown.show(sample("OK", Metrics(cpu_load=0.5, mem_usage=1.0, latency_ms=3.0)))
    shown.show(sample("ERROR", Metrics(cpu_load=None, mem_usage=None, latency_ms=None)))
    shown.show(sample("ERROR", Metrics(cpu_load=None, mem_usage=None, latency_ms=None)))
    text = generate_latest(registry).decode()
    assert 'triage_device_status{device="orders"} 2.0' in text
    assert 'triage_device_latency_seconds{device="orders"}' not in text
    assert 'triage_device_cpu_cores{device="orders"}' not in text


def test_all_of_telemetry_is_shown() -> None:
    assert set(MEASURED) == set(Metrics.model_fields)


def test_failures_are_there_from_the_first_request_on() -> None:
    """A ratio of a missing series to a present one is no number."""
    kept = shop.Metrics()
    kept.request("GET /", "200", 0.1)
    assert kept.registry.get_sample_value("shop_request_failures_total", {"operation": "GET /"}) == 0
    kept.request("GET /", "404", 0.1, failed=True)
    assert kept.registry.get_sample_value("shop_request_failures_total", {"operation": "GET /"}) == 1
    assert kept.registry.get_sample_value("shop_requests_total", {"operation": "GET /", "status": "200"}) == 1


def test_every_check_of_the_health_is_a_metric() -> None:
    registry, health = CollectorRegistry(), Health("monitor", "monitor-1")
    registry.register(HealthMetrics(health))
    assert registry.get_sample_value("triage_health_check", {"check": "broker"}) is None
    health.set("broker", True)
    health.set("caught_up", False)
    assert registry.get_sample_value("triage_health_check", {"check": "broker"}) == 1
    assert registry.get_sample_value("triage_health_check", {"check": "caught_up"}) == 0
