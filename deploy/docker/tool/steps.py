"""Runs commands one after the other and says what each answered: one start of a container for all of them.

    steps.py '[["iptables-save"], ["tc", "qdisc", "show"]]'

Prints `[[exit code, output], …]` as JSON, up to and including the first command that failed; a command that begins with
a lone "-" may fail. No shell is involved.
"""

from __future__ import annotations

import json
import subprocess
import sys

TIMEOUT_S = 20


def run(commands: list[list[str]]) -> list[tuple[int, str]]:
    """Return exit code and output (both streams) of each command, up to the first that failed."""
    answers: list[tuple[int, str]] = []
    for command in commands:
        may_fail = command[0] == "-"
        answers.append(_run(command[1:] if may_fail else command))
        if answers[-1][0] != 0 and not may_fail:
            break
    return answers


def _run(command: list[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(json.loads(sys.argv[1]))))
