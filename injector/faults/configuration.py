"""Faults of configuration: a service runs with an environment that is not the declared one."""

from __future__ import annotations

from collections.abc import Mapping

from broker.contracts.plan import FaultClass
from injector.fault import EVERYWHERE, Evidence, Platform, Spec, World

WRONG_HOST = "shop-db-old.invalid"
"""A name of the reserved top-level domain of RFC 2606: it never resolves."""
WRONG_PASSWORD = "changed-on-the-server-only"  # noqa: S105 - wrong on purpose


class _Environment:
    """Common to what changes one variable of a service's environment and restarts it, as a bad deployment would."""

    targets: tuple[str, ...] = ("orders", "catalog")
    arguments: Mapping[str, tuple[float, float, float]] = {}
    platforms: tuple[Platform, ...] = EVERYWHERE
    suffix: str
    value: str

    def _variable(self, spec: Spec) -> str:
        return f"{spec.target.upper()}_{self.suffix}"

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.set_environment(spec.target, {self._variable(spec): self.value})

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        """Read the environment of the process that really runs."""
        variable = self._variable(spec)
        wrong = (await world.port.environment(spec.target)).get(variable) == self.value
        return Evidence(wrong, f"{spec.target} runs with {'the wrong' if wrong else 'another'} {variable}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.reset_environment(spec.target)


class DbConnDrift(_Environment):
    """Spec 8: the database host is swapped for a wrong name; the service answers 500."""

    name = "db_conn_drift"
    summary = "the service's database host is changed to a name that does not resolve"
    suffix = "DB_HOST"
    value = WRONG_HOST

    def truth(self, spec: Spec) -> tuple[str, FaultClass]:
        return spec.target, "config_drift"


class DbWrongPassword(_Environment):
    """The service's database password is stale."""

    name = "db_wrong_password"
    summary = "the service's database password is changed to a wrong one"
    suffix = "DB_PASSWORD"
    value = WRONG_PASSWORD

    def truth(self, spec: Spec) -> tuple[str, FaultClass]:
        return spec.target, "bad_credentials"
