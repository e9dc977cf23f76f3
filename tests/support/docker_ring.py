"""Whether the ring on containers can run here; as a program: say loudly that it did not. Exit code 0 either way."""

from __future__ import annotations

import os
import sys

from harness.compose.program import find
from harness.errors import HarnessError

WITHOUT = "TRIAGE_TESTS_WITHOUT_DOCKER"
TITLE = "NOT TESTED ON CONTAINERS"
WIDTH = 80


def why_not() -> str | None:
    """Return why no test that needs Docker can run, in one clause; None if they can."""
    if said := os.environ.get(WITHOUT):
        return f"{WITHOUT} says {said!r}"
    try:
        find()
    except HarnessError as error:
        return str(error)
    return None


def main() -> int:
    """Repeat at the end of a long run what its middle has said."""
    if (reason := why_not()) is not None:
        sys.stderr.write(f"{f' {TITLE} ':!^{WIDTH}}\n{reason}\n{'':!^{WIDTH}}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
