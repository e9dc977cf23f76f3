"""What containers cannot suffer, and why."""

from __future__ import annotations

from services.platform.fault_port import Lacking


def _lacking(why: str) -> Lacking:
    return Lacking("docker", why, "embedded")


COMMANDS = _lacking("another command for a container is a deployment, which is compose's business")
INTRUDERS = _lacking("a workload's container holds none of the injector's programs")
GRANTS = _lacking("the platform does not hold the password of a database's administrator")
INDEXES = GRANTS
MESSAGES = _lacking("the platform does not look into a queue, so nobody there could see the message or move it")
CONSUMERS = _lacking("the platform does not ask a queue how it serves its consumers, so nobody there could resume one")
DESCRIPTORS = _lacking("a container's descriptors are limited when it is made, not while it runs")
