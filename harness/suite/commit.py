"""Which sources a suite ran: a change that is not committed makes other sources of them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNKNOWN = "unknown"


def sources(root: Path = ROOT) -> str:
    """Return the short hash of the sources, with a digest of what was changed since; `unknown` outside a checkout."""
    head = _git(root, "rev-parse", "--short=12", "HEAD")
    if head is None:
        return UNKNOWN
    changed = _git(root, "status", "--porcelain", "--untracked-files=no") or b""
    if not changed.strip():
        return head.decode().strip()
    difference = _git(root, "diff", "HEAD", "--binary") or b""
    return f"{head.decode().strip()}+{hashlib.sha256(difference).hexdigest()[:8]}"


def _git(root: Path, *words: str) -> bytes | None:
    git = shutil.which("git")
    if git is None:
        return None
    found = subprocess.run([git, "-C", str(root), *words], capture_output=True, check=False)
    return found.stdout if found.returncode == 0 else None
