"""Limits between the port's units and the engine's."""

from __future__ import annotations

import pytest

from services.platform.docker.container import Resources
from services.platform.docker.limits import limits_of, resources_with, with_limits
from services.platform.fault_port import Limits


@pytest.mark.parametrize(
    ("resources", "cores"),
    [
        (Resources(), None),
        (Resources(nano_cpus=500_000_000), 0.5),
        (Resources(cpu_quota=20_000), 0.2),
        (Resources(cpu_quota=20_000, cpu_period=50_000), 0.4),
        (Resources(cpu_quota=-1), None),
    ],
)
def test_the_processors_share_is_read_however_it_was_given(resources: Resources, cores: float | None) -> None:
    assert limits_of(resources) == Limits(cpu_cores=cores)


def test_memory_is_read() -> None:
    assert limits_of(Resources(memory=1 << 20, memory_swap=1 << 20)) == Limits(memory_bytes=1 << 20)


def test_the_share_is_changed_in_the_words_it_was_given_in() -> None:
    """The engine refuses the others: "Conflicting options"."""
    assert resources_with(Resources(cpu_quota=50_000), Limits(cpu_cores=0.1)) == Resources(
        cpu_quota=10_000, cpu_period=100_000
    )
    assert resources_with(Resources(nano_cpus=10**9), Limits(cpu_cores=0.1)) == Resources(nano_cpus=100_000_000)
    assert resources_with(Resources(), Limits(cpu_cores=0.1)) == Resources(nano_cpus=100_000_000)


def test_memory_never_changes_without_swap() -> None:
    """The engine refuses a limit of memory above the one of memory and swap."""
    assert resources_with(Resources(memory=9, memory_swap=9), Limits(memory_bytes=5)) == Resources(
        memory=5, memory_swap=5
    )


def test_what_is_not_named_stays() -> None:
    assert with_limits(Limits(0.5, 7), Limits(memory_bytes=9)) == Limits(0.5, 9)
    assert with_limits(Limits(0.5, 7), Limits(cpu_cores=1.0)) == Limits(1.0, 7)
