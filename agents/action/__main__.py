"""`python -m agents.action`: one ActionAgent. Start more to share the work."""

from __future__ import annotations

import sys

from agents.action.agent import ActionAgent
from agents.platform import open_platform
from broker.runtime.process import Context, worker_main


def _make(context: Context) -> ActionAgent:
    return ActionAgent(context.settings.instance, context.inventory, open_platform(context.settings))


if __name__ == "__main__":
    sys.exit(worker_main("action", "w-action", _make))
