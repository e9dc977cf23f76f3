"""Ending foreign processes inside a container: those that were brought in from outside.

The engine tells the host's process ids only, which nobody in a container can signal. So a sidecar of the tool image
joins the container's process namespace; there a process from outside has no parent (`PPid: 0`) and is not number 1.
"""

from __future__ import annotations

import json

from services.platform.docker.container import Container
from services.platform.docker.engine import Engine
from services.platform.docker.readings import spared
from services.platform.port import VerbFailedError

SCRIPT = r"""
import json, os, signal, sys
checks = json.loads(sys.argv[1])
base = lambda path: path.rpartition("/")[2]
def spared(words):  # as services/platform/docker/readings.py
    tails = [words[start:] for start in range(min(3, len(words)))]
    return any([base(tail[0]), *tail[1:]] == [base(check[0]), *check[1:]] for tail in tails for check in checks)
def look():
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit(): continue
        try:
            with open(f"/proc/{name}/status") as file:
                parent = next(int(line.split()[1]) for line in file if line.startswith("PPid:"))
            with open(f"/proc/{name}/cmdline", "rb") as file:
                command = file.read().decode("utf-8", "replace").replace("\0", " ").split()
        except (OSError, StopIteration): continue
        found[int(name)] = (parent, command)
    return found
def send(pid, number):
    try: os.kill(pid, number)
    except OSError: pass
def trees(found, tops):
    chosen = set(tops)
    while True:
        more = {pid for pid, (parent, _) in found.items() if parent in chosen} - chosen
        if not more: return chosen
        chosen |= more
first = look()
own = {1, os.getpid()}
tops = [p for p, (parent, command) in first.items() if parent == 0 and p not in own and not spared(command)]
stopped = set()
while True:
    new = trees(look(), tops) - stopped
    if not new: break
    for pid in new: send(pid, signal.SIGSTOP)
    stopped |= new
for pid in stopped: send(pid, signal.SIGKILL)
print(json.dumps([" ".join(first[p][1])[:100] for p in sorted(tops)]))
"""
CAPS = ("KILL", "SYS_PTRACE", "DAC_READ_SEARCH")


async def end_foreign(engine: Engine, container: Container, image: str) -> tuple[str, ...]:
    """End every foreign process tree inside a running container; return the command lines of those that were ended.

    Args:
        image: the tool image; anything with python3 will do.

    Raises:
        VerbFailedError: the sidecar could not do its work.
    """
    command = ["python3", "-c", SCRIPT, json.dumps(spared(container.health_command))]
    ran = await engine.run_sidecar(container, command, image=image, caps=CAPS, namespace="pid")
    try:
        ended: list[str] = json.loads(ran.output)
    except ValueError as error:
        said = ran.output.strip()[-200:]
        raise VerbFailedError(f"foreign processes of {container.service} could not be ended: {said}") from error
    return tuple(ended)
