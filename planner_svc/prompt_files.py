"""The prompt templates of the package, or of a directory: read here, and nowhere else."""

from __future__ import annotations

import hashlib
import re
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from pydantic import ValidationError

from broker.contracts.base import describe
from planner_svc.core.config import PromptTemplate
from planner_svc.errors import PromptError

_NAME = re.compile(r"(?P<name>[a-z][a-z0-9_-]*)\.v(?P<version>[1-9][0-9]{0,4})\.toml")


def load_templates(directory: Traversable | None = None) -> tuple[PromptTemplate, ...]:
    """Return the templates that ship with the package, or those in `directory`, by name and version.

    Raises:
        PromptError: a file is no template; one sentence says which and why.
    """
    place = directory if directory is not None else resources.files("planner_svc") / "prompts"
    found = [_read(file, match) for file in place.iterdir() if (match := _NAME.fullmatch(file.name))]
    if not found:
        raise PromptError(f"{place} holds no prompt template (name.v1.toml); install the package anew")
    return tuple(sorted(found, key=lambda template: (template.name, template.version)))


def _read(file: Traversable, name: re.Match[str]) -> PromptTemplate:
    try:
        data = file.read_bytes()
        values: dict[str, Any] = tomllib.loads(data.decode())
    except OSError as error:
        raise PromptError(f"{file} cannot be read: {error.strerror}; install the package anew") from error
    except ValueError as error:
        raise PromptError(f"{file} is no TOML: {error}") from error
    head = {"name": name["name"], "version": int(name["version"]), "hash": hashlib.sha256(data).hexdigest()}
    try:
        return PromptTemplate.model_validate(values | head, strict=False)
    except ValidationError as error:
        raise PromptError(f"{file} is no prompt template: {describe(error)}") from error
