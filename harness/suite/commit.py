"""Which sources a suite runs: a commit, a digest of what is not committed, or, without a checkout, of the files."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("agents", "auditor_svc", "broker", "deploy", "harness", "injector"),
    *("monitor_svc", "planner_svc", "runbooks", "scheduler_svc", "services"),
)


def sources(root: Path = ROOT) -> str:
    """Return the short hash of the sources' commit, with a digest of what was changed since; outside a checkout of
    their own (in a container, or installed into an environment) `files-` and a digest of the packages' files."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top.decode().strip()).resolve() != root.resolve():
        return f"files-{_of_files(root)}"
    head = (_git(root, "rev-parse", "--short=12", "HEAD") or b"none").decode().strip()
    difference = _git(root, "diff", "HEAD", "--binary") or b""
    return f"{head}+{hashlib.sha256(difference).hexdigest()[:8]}" if difference.strip() else head


def _git(root: Path, *words: str) -> bytes | None:
    git = shutil.which("git")
    if git is None:
        return None
    found = subprocess.run([git, "-C", str(root), *words], capture_output=True, check=False)
    return found.stdout if found.returncode == 0 else None


def _of_files(root: Path) -> str:
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
