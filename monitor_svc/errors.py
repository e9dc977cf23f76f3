"""Errors of the monitor.

```
MonitorError
└── ProbeError     a device did not answer a probe, or not in its protocol; `code` is the telemetry's error code
```
"""

from __future__ import annotations


class MonitorError(Exception):
    """Base of all errors of this package."""


class ProbeError(MonitorError):
    """A probe failed.

    Args:
        code: errno name (`ECONNREFUSED`), `TIMEOUT`, the server's own code, or the exception's class name.
        text: one sentence for people.
        latency_ms: how long the answer took if there was one, only not a usable one; None if nothing answered.
    """

    def __init__(self, code: str, text: str, latency_ms: float | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.latency_ms = latency_ms
