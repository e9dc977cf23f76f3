"""Finding the servers that came as Python packages, without importing those packages (they start bookkeeping of their
own, and pull in whole client libraries)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from deploy.embedded.errors import MissingServerError


def packaged(package: str, pattern: str) -> Path:
    """Return the first file of a package that fits a glob pattern.

    Raises:
        MissingServerError: the package is not installed, or has no such file (another kind of machine).
    """
    found = importlib.util.find_spec(package)
    for folder in found.submodule_search_locations or () if found else ():
        for path in sorted(Path(folder).glob(pattern)):
            return path
    name = pattern.rpartition("/")[2]
    raise MissingServerError(f"{name} ({package}) is not installed; install the packages of requirements.lock")
