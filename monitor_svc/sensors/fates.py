"""What became of devices, by the events of the platform: why a silent one is silent. Pure.

From outside a container that died looks like one whose name cannot be resolved; the engine knows better. What it says
is used only where the probe failed anyway: nothing is called dead that answers.
"""

from __future__ import annotations

from monitor_svc.errors import ProbeError

DIED = "ContainerDied"
OUT_OF_MEMORY = "ContainerOOMKilled"
OOM_BEFORE_US = 5_000_000
"""An out-of-memory event belongs to a death that follows within this time, microseconds."""


class Fates:
    """The last that was heard of each device."""

    def __init__(self) -> None:
        self._oom_us: dict[str, int] = {}
        self._dead: dict[str, ProbeError] = {}
        self._running: set[str] = set()

    def note(self, device: str, happening: str, at_us: int, exit_code: int | None) -> None:
        """Take an event in, in the order in which they happened."""
        if happening == "oom":
            self._oom_us[device] = at_us
        elif happening in ("started", "healthy"):
            self._dead.pop(device, None)
            self._running.add(device)
        elif happening == "died":
            self._running.discard(device)
            starved = at_us - self._oom_us.pop(device, -OOM_BEFORE_US - 1) <= OOM_BEFORE_US
            why = "for want of memory" if starved else f"with exit code {exit_code}"
            self._dead[device] = ProbeError(OUT_OF_MEMORY if starved else DIED, f"the container of {device} died {why}")
        elif happening == "removed" and device not in self._dead and device not in self._running:
            # Of one that is replaced, the old container is removed when the new one has started.
            self._dead[device] = ProbeError(DIED, f"the container of {device} was removed")

    def forget(self) -> None:
        """Forget everything: events were missed."""
        self._oom_us.clear()
        self._dead.clear()
        self._running.clear()

    def explain(self, device: str, failure: ProbeError) -> ProbeError:
        """Return why a probe failed: the platform's word if it has one, else the probe's own."""
        return self._dead.get(device, failure)
