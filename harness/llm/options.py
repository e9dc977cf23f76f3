"""What the engine's process is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from broker.contracts.base import Frozen


class EngineOptions(Frozen):
    """How a model is served."""

    path: str
    alias: str
    """The name it is asked by."""
    port: Annotated[int, Field(ge=1, le=65_535)]
    context: Annotated[int, Field(ge=256, le=1_048_576)] = 4_096
    """Longest prompt and answer together, in tokens."""
    threads: Annotated[int, Field(ge=1, le=512)] = 2
    embeddings: bool = False
    """Offer /v1/embeddings beside the chat."""
    pooled: bool = False
    """Make one vector of a text's many by their mean: for models that bring no way of their own."""
