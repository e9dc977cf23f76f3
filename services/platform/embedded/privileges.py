"""Taking privileges away from the roles of a running database, and giving back what is declared."""

from __future__ import annotations

from services.platform.embedded import grants
from services.platform.embedded.view import View
from services.platform.port import VerbFailedError


class EmbeddedGrants:
    """Implements `services.platform.fault_port.Grants`."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def revoke(self, name: str, role: str, privilege: str) -> None:
        """Take a declared privilege away from a role.

        Raises:
            VerbFailedError: it is not declared, or the database did not do it.
        """
        program = self._view.world.program(name)
        declared = [item for item in program.grants if item.role == role and privilege in item.privileges]
        if not declared:
            raise VerbFailedError(f"{name} declares no {privilege} for {role}: there is nothing to take away")
        for item in declared:
            await grants.revoke(program, item.model_copy(update={"privileges": (privilege,)}))

    async def restore_grants(self, name: str) -> None:
        """Give every role what is declared.

        Raises:
            VerbFailedError: the database did not take it.
        """
        await grants.restore_grants(self._view.world.program(name))

    async def missing_grants(self, name: str) -> tuple[str, ...]:
        """Return what roles lack.

        Raises:
            VerbFailedError: the database does not say.
        """
        found = await grants.missing(self._view.world.program(name))
        return tuple(f"{item.name} may {item.actual}, not {item.declared}" for item in found)
