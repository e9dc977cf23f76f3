"""One sample of every device, every second, on a fixed grid: each device at its own phase of the second, so that probes
do not slow each other down and the latency they measure is the device's.

Each device has its own task: one that hangs, or a publish that does, delays nobody else. A sample that cannot be
published is dropped and counted: old telemetry is worth nothing, and the monitor takes silence as what it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from structlog.typing import FilteringBoundLogger

from broker.contracts.inventory import Device, Inventory
from broker.contracts.telemetry import Telemetry
from broker.envelope import Signer
from broker.errors import BrokerClosedError, BrokerError
from broker.port import Broker
from broker.subjects import TELEMETRY_TTL_S
from broker.tasks import until_any_ends

PERIOD_S: Final = 1.0
PUBLISH_TIMEOUT_S: Final = 1.5
"""A publish that takes longer is given up; the next sample is nearer to the truth."""
STATUS_NUMBER: Final = {"OK": 0, "WARN": 1, "ERROR": 2}


MEASURED: Final = {
    "latency_ms": ("latency_seconds", "Time of the probe's answer; of the traffic, its 95th percentile.", 0.001),
    "cpu_load": ("cpu_cores", "Cores in use by the device and everything in its scope.", 1.0),
    "mem_usage": ("memory_bytes", "Resident memory of the device.", 1.0),
    "success_ratio": ("success_ratio", "Share of good answers in the last window, 0..1.", 1.0),
    "request_rate": ("requests_per_second", "Requests per second in the last window.", 1.0),
}
"""Telemetry's values as metrics: what they are called behind `triage_device_`, what they mean, and to the base unit."""


class Sampler(Protocol):
    """What takes one sample; `probes.Prober` outside of tests."""

    async def sample(self, device: Device, at: datetime) -> Telemetry: ...


class SensorMetrics:
    """What /metrics shows of the sensors."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.samples = Counter(
            "triage_samples_total", "Samples, by device and outcome.", ["device", "outcome"], registry=registry
        )
        self.status = Gauge(
            "triage_device_status", "0 OK, 1 WARN, 2 ERROR, as last sampled.", ["device"], registry=registry
        )
        self._values = {
            name: (Gauge(f"triage_device_{family}", text, ["device"], registry=registry), factor)
            for name, (family, text, factor) in MEASURED.items()
        }

    def show(self, sample: Telemetry) -> None:
        """Show a published sample; what it did not measure is not shown, rather than the value before."""
        self.status.labels(sample.device_id).set(STATUS_NUMBER[sample.status])
        for name, (gauge, factor) in self._values.items():
            value = getattr(sample.metrics, name)
            if value is not None:
                gauge.labels(sample.device_id).set(value * factor)
            else:
                with suppress(KeyError):
                    gauge.remove(sample.device_id)


class Sensors:
    """Samples and publishes; `run` returns never but by cancellation."""

    def __init__(
        self,
        inventory: Inventory,
        broker: Broker,
        signer: Signer,
        sampler: Sampler,
        *,
        registry: CollectorRegistry | None = None,
        log: FilteringBoundLogger | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        period_s: float = PERIOD_S,
        on_sample: Callable[[bool], None] = lambda published: None,
    ) -> None:
        """
        Args:
            on_sample: told after each sample whether it could be published.
        """
        self._devices = inventory.devices
        self._broker = broker
        self._signer = signer
        self._sampler = sampler
        self._metrics = SensorMetrics(registry or CollectorRegistry())
        self._log: FilteringBoundLogger = (log or structlog.get_logger()).bind(part="sensors")
        self._clock = clock
        self._period_s = period_s
        self._on_sample = on_sample
        self._dropping: set[str] = set()

    async def run(self) -> None:
        """Sample every device until cancelled."""
        start = time.monotonic()
        step_s = self._period_s / max(1, len(self._devices))
        await until_any_ends(
            *(self._watch(device, start + position * step_s) for position, device in enumerate(self._devices))
        )

    async def _watch(self, device: Device, start: float) -> None:
        """Sample one device on its grid; instants that were missed are skipped, not made up for."""
        while True:
            passed = time.monotonic() - start
            await asyncio.sleep(self._period_s - passed % self._period_s if passed >= 0 else -passed)
            await self.sample_once(device)

    async def sample_once(self, device: Device) -> None:
        """Take and publish one sample of a device. What goes wrong stays here, unless the broker is gone for good."""
        try:
            sample = await self._sampler.sample(device, self._clock())
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await self._broker.publish(sample.subject(), self._signer.seal(sample), ttl_s=TELEMETRY_TTL_S)
        except BrokerClosedError:
            raise  # only another process has a connection again
        except (BrokerError, TimeoutError) as error:
            self._metrics.samples.labels(device.name, "dropped").inc()
            self._say_dropping(device.name, error)
            self._on_sample(False)
            return
        except Exception:
            self._metrics.samples.labels(device.name, "failed").inc()
            self._log.exception("sample_failed", device=device.name)
            return
        self._dropping.discard(device.name)
        self._metrics.samples.labels(device.name, "published").inc()
        self._metrics.show(sample)
        self._on_sample(True)

    def _say_dropping(self, device: str, error: Exception) -> None:
        """Log once per outage of the broker, not once a second."""
        if device not in self._dropping:
            self._dropping.add(device)
            self._log.warning("sample_dropped", device=device, error=str(error) or type(error).__name__)
