"""What goes over the wire between the proxy and its clients: verbs, their arguments and results, and errors by kind.

The verbs are read off the two ports themselves, so that the wire can never say anything else than they do:
`POST /v1/<verb>` for the platform, `POST /v1/fault.<verb>` for the fault port; the body is a JSON object with the
parameters by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, Protocol, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from broker.contracts.base import Token, describe
from services.platform import port
from services.platform.docker.readings import ContainerRow, Signal, Usage
from services.platform.fault_port import FaultPort, Names, Networks, Volumes
from services.platform.port import (
    NotManagedError,
    NotOnThisPlatformError,
    Platform,
    PlatformDownError,
    PlatformError,
    RefusedError,
    UnknownWorkloadError,
    VerbFailedError,
)
from services.platform.proxy.policy import FAULT

MAX_BODY: Final = 64 * 1024
"""Bytes of a call."""
STATUS: dict[type[PlatformError], int] = {
    RefusedError: 403,
    NotManagedError: 403,
    UnknownWorkloadError: 404,
    VerbFailedError: 409,
    NotOnThisPlatformError: 501,
    PlatformDownError: 503,
    PlatformError: 400,
}
"""HTTP status of each kind of error; the first that fits counts."""
NAMES: Final = ("name", "source", "destination", "instance")
"""Parameters that name a workload or a container."""
BOUNDS: Final[Mapping[str, Any]] = {
    "key": Field(min_length=1, max_length=200),
    "limit": Field(ge=1, le=5_000),
    "timeout_s": Field(ge=0.0, le=10.0, allow_inf_nan=False),
}
"""What a caller may not say although the port's types could: he might cost the proxy its memory or its time."""
_TOKEN = TypeAdapter(Token)
_BY_NAME = {kind.__name__: kind for kind in STATUS}


class Extra(Protocol):
    """What the proxy offers besides the two ports."""

    async def stats(self, name: str) -> Usage: ...

    async def containers(self) -> tuple[ContainerRow, ...]: ...


class ExtraFaults(Protocol):
    """What the proxy offers the injector besides the fault port."""

    async def kill_role(self, instance: str, signal: Signal) -> None: ...


@dataclass(frozen=True)
class Verb:
    """One call that can be made. Its models are made when they are first needed: few programs need more than a few."""

    name: str
    said: Callable[..., Any]
    """The port's own declaration."""
    part: str = ""
    """Name of the part of the port that carries it out; empty: the port itself."""

    @property
    def method(self) -> str:
        """Name of the method that carries it out."""
        return self.said.__name__

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """Model of its parameters by name."""
        fields: dict[str, Any] = {
            parameter.name: (
                Annotated[self._hints[parameter.name], BOUNDS.get(parameter.name)],
                ... if parameter.default is inspect.Parameter.empty else parameter.default,
            )
            for parameter in inspect.signature(self.said).parameters.values()
            if parameter.name != "self"
        }
        return create_model(f"{self.method}_arguments", __config__=ConfigDict(extra="forbid"), **fields)

    @cached_property
    def result(self) -> TypeAdapter[Any]:
        """Reads and writes its result."""
        return TypeAdapter(self._hints["return"])

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self.said)

    def read(self, body: bytes) -> dict[str, Any]:
        """Return the arguments of a call.

        Raises:
            PlatformError: they are not what the verb takes. UnknownWorkloadError: a name that can be nobody's. One
                sentence.
        """
        with self._judged():
            given = self.arguments.model_validate_json(body or b"{}")
        arguments = {name: getattr(given, name) for name in type(given).model_fields}
        for name in arguments.keys() & set(NAMES):
            _require_name(arguments[name])
        return arguments

    def written(self, arguments: Mapping[str, Any]) -> bytes:
        """Return the body of a call.

        Raises:
            PlatformError: the arguments are not what the verb takes. One sentence.
        """
        with self._judged():
            return self.arguments(**arguments).model_dump_json().encode()

    @contextmanager
    def _judged(self) -> Iterator[None]:
        try:
            yield
        except ValidationError as error:
            raise PlatformError(f"{self.name} was called with wrong arguments: {describe(error)}") from error

    def target(self, arguments: Mapping[str, Any]) -> str:
        """Return what a call is about, for logs; empty if it is about the whole world."""
        if "source" in arguments:
            return f"{arguments['source']}--{arguments.get('destination', '')}"
        return str(arguments.get("name", arguments.get("instance", "")))


def _require_name(name: str) -> None:
    try:
        _TOKEN.validate_python(name)
    except ValidationError as error:
        raise UnknownWorkloadError(
            f"no workload is called {name[:80]!r}: a name has up to 63 of a-z, 0-9, '-' and '_'"
        ) from error


def _verbs(of: type, prefix: str = "", part: str = "") -> dict[str, Verb]:
    methods = (
        item for item in vars(of).items() if not item[0].startswith("_") and inspect.iscoroutinefunction(item[1])
    )
    return {f"{prefix}{name}": Verb(f"{prefix}{name}", method, part) for name, method in methods}


PLATFORM_VERBS: dict[str, Verb] = _verbs(Platform) | _verbs(Extra)
FAULT_VERBS: dict[str, Verb] = (
    _verbs(FaultPort, FAULT)
    | _verbs(Networks, FAULT, "networks")
    | _verbs(Names, FAULT, "names")
    | _verbs(Volumes, FAULT, "volumes")
    | _verbs(ExtraFaults, FAULT)
)
"""Parts that containers lack (`services.platform.docker.lacking`) have no verbs: their clients refuse them."""
VERBS: dict[str, Verb] = PLATFORM_VERBS | FAULT_VERBS


def status_of(error: PlatformError) -> int:
    """Return the HTTP status of an error."""
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))


def error_body(error: PlatformError) -> dict[str, str]:
    """Return what an error looks like on the wire."""
    kind = next(kind for kind in STATUS if isinstance(error, kind))
    return {"kind": kind.__name__, "text": str(error)}


def error_of(body: Any) -> PlatformError:
    """Return the error that came over the wire; one of an unknown kind is the base kind."""
    kind, text = (body.get("kind"), body.get("text")) if isinstance(body, dict) else (None, None)
    return _BY_NAME.get(str(kind), port.PlatformError)(str(text or "the platform proxy gave no reason"))


__all__ = [
    "FAULT_VERBS",
    "MAX_BODY",
    "PLATFORM_VERBS",
    "STATUS",
    "VERBS",
    "ContainerRow",
    "Extra",
    "ExtraFaults",
    "Signal",
    "Verb",
    "error_body",
    "error_of",
    "status_of",
]
