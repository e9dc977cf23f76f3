"""The fault port over the platform proxy: only the injector's token opens it, and no agent imports this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.platform.docker import lacking
from services.platform.fault_port import Limits, LinkFault
from services.platform.proxy.client import RETRY_S, Caller
from services.platform.proxy.policy import FAULT
from services.platform.proxy.wire import FAULT_VERBS, Signal


class _FaultCalls:
    """Calls of the fault port's verbs."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def _call(self, verb: str, **arguments: Any) -> Any:
        return await self._caller.call(FAULT_VERBS[f"{FAULT}{verb}"], arguments)


class RemoteNetworks(_FaultCalls):
    """Implements `services.platform.fault_port.Networks` over the proxy."""

    async def disconnect(self, name: str) -> None:
        await self._call("disconnect", name=name)

    async def reconnect(self, name: str) -> None:
        await self._call("reconnect", name=name)

    async def disconnected(self, name: str) -> tuple[str, ...]:
        found: tuple[str, ...] = await self._call("disconnected", name=name)
        return found


class RemoteNames(_FaultCalls):
    """Implements `services.platform.fault_port.Names` over the proxy."""

    async def break_names(self, name: str) -> None:
        await self._call("break_names", name=name)

    async def restore_names(self, name: str) -> None:
        await self._call("restore_names", name=name)

    async def names_broken(self, name: str) -> bool:
        return bool(await self._call("names_broken", name=name))


class RemoteVolumes(_FaultCalls):
    """Implements `services.platform.fault_port.Volumes` over the proxy."""

    async def fill_volume(self, name: str) -> None:
        await self._call("fill_volume", name=name)

    async def free_volume(self, name: str) -> None:
        await self._call("free_volume", name=name)

    async def filler(self, name: str) -> int:
        return int(await self._call("filler", name=name))


class RemoteFaults(_FaultCalls):
    """Implements `services.platform.fault_port.FaultPort` over the proxy; only the injector's token opens it."""

    commands = lacking.COMMANDS
    intruders = lacking.INTRUDERS
    grants = lacking.GRANTS
    indexes = lacking.INDEXES
    messages = lacking.MESSAGES
    consumers = lacking.CONSUMERS

    def __init__(self, url: str, token_file: Path, *, retry_s: float = RETRY_S) -> None:
        """Args: as `RemotePlatform`."""
        super().__init__(Caller(url, token_file, retry_s=retry_s))
        self.networks = RemoteNetworks(self._caller)
        self.names = RemoteNames(self._caller)
        self.volumes = RemoteVolumes(self._caller)

    async def kill_role(self, instance: str, signal: Signal = "KILL") -> None:
        """Signal a container of the control plane; KILL brings it back."""
        await self._call("kill_role", instance=instance, signal=signal)

    async def kill(self, name: str) -> None:
        await self._call("kill", name=name)

    async def stop(self, name: str) -> None:
        await self._call("stop", name=name)

    async def start(self, name: str) -> None:
        await self._call("start", name=name)

    async def freeze(self, name: str) -> None:
        await self._call("freeze", name=name)

    async def thaw(self, name: str) -> None:
        await self._call("thaw", name=name)

    async def set_environment(self, name: str, changes: dict[str, str]) -> None:
        await self._call("set_environment", name=name, changes=changes)

    async def reset_environment(self, name: str) -> None:
        await self._call("reset_environment", name=name)

    async def environment(self, name: str) -> dict[str, str]:
        found: dict[str, str] = await self._call("environment", name=name)
        return found

    async def configured(self, name: str) -> dict[str, str]:
        found: dict[str, str] = await self._call("configured", name=name)
        return found

    async def set_link(self, source: str, destination: str, fault: LinkFault) -> None:
        await self._call("set_link", source=source, destination=destination, fault=fault)

    async def link(self, source: str, destination: str) -> LinkFault:
        found: LinkFault = await self._call("link", source=source, destination=destination)
        return found

    async def hog(self, name: str, processes: int) -> None:
        await self._call("hog", name=name, processes=processes)

    async def hogs(self, name: str) -> int:
        return int(await self._call("hogs", name=name))

    async def unhog(self, name: str) -> None:
        await self._call("unhog", name=name)

    async def is_frozen(self, name: str) -> bool:
        return bool(await self._call("is_frozen", name=name))

    async def is_running(self, name: str) -> bool:
        return bool(await self._call("is_running", name=name))

    async def set_limits(self, name: str, limits: Limits) -> None:
        await self._call("set_limits", name=name, limits=limits)

    async def reset_limits(self, name: str) -> None:
        await self._call("reset_limits", name=name)

    async def limits(self, name: str) -> Limits:
        found: Limits = await self._call("limits", name=name)
        return found
