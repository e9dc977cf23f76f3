"""`python -m deploy.docker.start MODULE [ARGUMENT ...]`: the entry point of every role's container.

Finds out which instance this container is and becomes `python -m MODULE`. Compose numbers its containers, and the
engine's DNS tells a container its own number: the name of its address is `<project>-<service>-<number>.<network>`.
So instances are called `log-agent-1`, `log-agent-2`, ... as people see them in `docker compose ps`.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterable

from deploy.docker.pointer import name_of

INSTANCE = "TRIAGE_INSTANCE"
ROLE = "TRIAGE_ROLE"
_FIT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""What an instance may be called (`broker.contracts.base.Token`)."""


def main() -> None:
    """Replace this process by the module's; return only by exit code 2, when no module is named."""
    if len(sys.argv) < 2:
        sys.stderr.write("start: no module is named; give one, for example `agents.log`\n")
        raise SystemExit(2)
    if not os.environ.get(INSTANCE):
        host = socket.gethostname()
        os.environ[INSTANCE] = instance_name(own_names(host), os.environ.get(ROLE, "reader"), host)
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])  # noqa: S606 - no shell, our own interpreter


def instance_name(names: Iterable[str], role: str, host: str) -> str:
    """Return what to call the instance.

    Args:
        names: the container's own full names, one for each network.
        role, host: what it is called after when no name is of compose's making: `<role>-<host>`.
    """
    for name in names:
        container, _, network = name.partition(".")
        project = network.rpartition("_")[0]
        if project and container.startswith(f"{project}-") and _FIT.fullmatch(container[len(project) + 1 :]):
            return container[len(project) + 1 :]
    return re.sub(r"[^a-z0-9_-]", "-", f"{role}-{host}".lower())[:63]


def own_names(host: str) -> list[str]:
    """Return the full names that the engine's DNS gives this container's addresses; unknown ones are left out."""
    try:
        addresses = socket.gethostbyname_ex(host)[2]
    except OSError:
        return []
    return [name for address in addresses if (name := name_of(address)) is not None]


if __name__ == "__main__":
    main()
