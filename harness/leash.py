"""End when whoever started us does. Docker leaves a command running inside a container when its caller has gone; but it
closes the command's standard input."""

from __future__ import annotations

import os
import signal
import threading

VARIABLE = "TRIAGE_LEASH"
"""Set by the host for commands that read nothing: it holds the other end of their standard input while it lives."""


def hold() -> None:
    """If we are on a leash, interrupt this process when its standard input ends."""
    if os.environ.get(VARIABLE):
        # A shell's background jobs, and all they start, are born deaf to this signal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_wait, name="leash", daemon=True).start()


def _wait() -> None:
    while os.read(0, 4_096):
        pass
    os.kill(os.getpid(), signal.SIGINT)
