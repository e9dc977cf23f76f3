"""Which sources a suite runs: a commit, a digest of what is not committed, or, without a checkout, of the files."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("agents", "auditor_svc", "broker", "deploy", "harness", "injector"),
    *("monitor_svc", "planner_svc", "runbooks", "scheduler_svc", "services"),
)


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


def sources(root: Path = ROOT) -> str:
    """Return the short hash of the sources' commit, with a digest of what was changed or added to the packages since;
    outside a checkout of their own (in a container, or installed into an environment), or before the first commit of
    one, `files-` and a digest of the packages' files."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top.decode().strip()).resolve() != root.resolve():
        return f"files-{_of_files(root)}"
    head = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = _git(root, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv")
    # Only the packages': whoever writes results or notes into a checkout runs the same sources as before.
    added = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *PACKAGES)
    if head is None or changed is None or added is None:
        return f"files-{_of_files(root)}"
    commit = head.decode().strip()
    if not changed.strip() and not added:
        return commit
    digest = hashlib.sha256(changed)
    for name in sorted(filter(None, added.split(b"\0"))):
        _add(digest, name, root / os.fsdecode(name))
    return f"{commit}+{digest.hexdigest()[:8]}"


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
                _add(digest, os.fsencode(path.relative_to(root)), path)
    return digest.hexdigest()[:12]


def _add(digest: _Digest, name: bytes, path: Path) -> None:
    """Add a file to a digest: its name, its length, what it holds. A broken link has its name alone."""
    held = path.read_bytes() if path.is_file() else b""
    digest.update(b"%b\0%d\0" % (name, len(held)))
    digest.update(held)
