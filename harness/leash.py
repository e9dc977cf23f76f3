"""End when whoever started us does.

Docker leaves a command running inside a container when its caller has gone; but it closes the command's standard input
(`hold`). A server that we start and that knows nothing of us is ended by the kernel when we are gone, however we went
(`ends_with_us`): nobody can clean up after his own SIGKILL.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
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


def ends_with_us() -> Callable[[], None] | None:
    """Return what a child has to do before it becomes another program (`preexec_fn`), so that the kernel sends it
    SIGTERM when we end. Only Linux can; elsewhere there is nothing to do.

    The kernel watches the thread that starts the child, so that must be one that lives as long as we do: the main one.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: a child of many threads must not load anything
    parent = os.getpid()

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died between the fork and the call
            os._exit(1)

    return bind
