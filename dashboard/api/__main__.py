"""`python -m dashboard.api`: the dashboard as a program of the embedded stack (docs/adr/0024).

Nobody needs it, so it gives way: while somebody else has its port (a `triage dashboard` that was there before the
stack), it waits for that one to end.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time

from broker.errors import BrokerError
from broker.runtime.exits import Exit, exit_code
from broker.runtime.settings import Settings, load_settings
from deploy.sockets import is_free
from harness.errors import HarnessError

WAIT_S = 2.0
"""Between two looks at the port."""
_log = logging.getLogger("dashboard")


def main() -> int:
    """Serve until SIGTERM; return the exit code. What went wrong stands on standard error in one sentence."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel("WARNING")
    try:
        settings = load_settings(role="operator")
        await_port(settings.dashboard_port)
        _serve(settings)
    except HarnessError as error:
        _log.error("%s", error)
        return error.exit_code
    except BrokerError as error:
        _log.error("%s", error)
        return exit_code(error)
    return Exit.OK


def await_port(port: int) -> None:
    """Return when nobody else listens at a port of loopback; before anything large is imported."""
    if port and not is_free(port):
        _log.info("port %s is in use, perhaps by a `triage dashboard`; waiting for it", port)
        while not is_free(port):
            time.sleep(WAIT_S)


def _serve(settings: Settings) -> None:
    from dashboard.api import serve  # a second of imports, which waiting for the port does not need

    where = serve.place(settings.dashboard_host, settings.dashboard_port, settings.dashboard_token_file)
    asyncio.run(serve.serve(settings.home, where, lambda address: _log.info("serving %s", address)))


if __name__ == "__main__":
    sys.exit(main())
