"""Faults of configuration: a service runs with an environment that is not the declared one."""

from __future__ import annotations

from broker.contracts.plan import FaultClass
from injector.fault import PROCESSES, Evidence, Fault, Platform, Spec, World

WRONG_HOST = "shop-db-old.invalid"
"""A name of the reserved top-level domain of RFC 2606: it never resolves."""
DEAF_PORT = "1"
"""tcpmux (RFC 1078), which nobody serves any more: connections are refused."""
NEEDED = {
    "orders": "MQ_URL",
    "catalog": "CACHE_HOST",
    "gateway": "ORDERS_URL",
    "fulfilment": "ORDERS_URL",
}
"""A variable without which each service refuses to start."""
WRONG_PASSWORD = "changed-on-the-server-only"  # noqa: S105 - wrong on purpose


class _Environment(Fault):
    """Common to what changes one variable of a service's environment and restarts it, as a bad deployment would."""

    targets: tuple[str, ...] = ("orders", "catalog")
    fault_class: FaultClass = "config_drift"
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
        return Evidence(wrong, f"{spec.target} runs {'with' if wrong else 'without'} the injected {variable}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.reset_environment(spec.target)


class DbConnDrift(_Environment):
    """Spec 8: the database host is swapped for a wrong name; the service answers 500."""

    name = "db_conn_drift"
    summary = "the service's database host is changed to a name that does not resolve"
    suffix = "DB_HOST"
    value = WRONG_HOST


class DbWrongPassword(_Environment):
    """The service's database password is stale."""

    name = "db_wrong_password"
    summary = "the service's database password is changed to a wrong one"
    fault_class: FaultClass = "bad_credentials"
    suffix = "DB_PASSWORD"
    value = WRONG_PASSWORD


class WrongPort(_Environment):
    """The service asks for its database at a port where nobody listens."""

    name = "wrong_port"
    summary = "the service's database port is changed to one where nobody listens"
    suffix = "DB_PORT"
    value = DEAF_PORT


class LimitTooSmall(_Environment):
    """The service gives its database a millisecond for everything, connecting included."""

    name = "limit_too_small"
    summary = "the service's time limit for its database is cut to 1 ms; every statement times out"
    suffix = "DB_TIMEOUT_MS"
    value = "1"


class FeatureFlag(_Environment):
    """A feature is switched on before the schema knows it: every order fails in the database."""

    name = "feature_flag"
    summary = "a feature is switched on whose column the database does not have; every checkout fails"
    targets: tuple[str, ...] = ("orders",)
    suffix = "GIFT_NOTES"
    value = "on"


class MissingVariable(_Environment):
    """A variable without which the service does not start is empty, as a template leaves it that misses a value."""

    name = "missing_variable"
    summary = "a variable that the service needs is emptied; it ends at once, at every start"
    targets: tuple[str, ...] = tuple(NEEDED)
    platforms: tuple[Platform, ...] = PROCESSES
    value = ""

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        """Read the environment that the service was given: it ends at once, so that often nothing runs."""
        variable = self._variable(spec)
        empty = (await world.port.configured(spec.target)).get(variable) == self.value
        runs = "runs" if await world.port.is_running(spec.target) else "does not run"
        given = "was given" if empty else "was not given"
        return Evidence(empty, f"{spec.target} {given} an empty {variable}, and {runs}")

    def _variable(self, spec: Spec) -> str:
        return f"{spec.target.upper()}_{NEEDED[spec.target]}"
