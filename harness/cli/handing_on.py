"""On the host of a compose stack: hand a command on to the harness inside."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

from harness.cli.context import home
from harness.compose.delegate import is_delegated, leading, translate
from harness.site import PLATFORM_VARIABLE, outside


def handed_on(arguments: Sequence[str]) -> int | None:
    """Run a command inside and return its exit code; None if it is one for this process.

    Raises:
        DockerError, ConflictError, StackDownError: one sentence says why it could not be run there.
    """
    options, command = leading(arguments)
    if "--platform" in options:
        os.environ[PLATFORM_VARIABLE] = options["--platform"]
    if not outside() or not is_delegated(command):
        return None
    from harness.compose.host import ComposeHost

    return ComposeHost(home()).perform(translate(command, secrets.token_hex(4)))
