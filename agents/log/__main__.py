"""`python -m agents.log`: one LogAgent. Start more to share the work."""

from __future__ import annotations

import sys

from agents.log.agent import LogAgent
from agents.platform import open_platform
from broker.runtime.process import Context, worker_main


def _make(context: Context) -> LogAgent:
    return LogAgent(context.settings.instance, context.inventory, open_platform(context.settings))


if __name__ == "__main__":
    sys.exit(worker_main("log", "w-log", _make))
