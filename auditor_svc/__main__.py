"""`python -m auditor_svc`: the auditor's process."""

from __future__ import annotations

from auditor_svc.checkpoint_file import FILE_NAME
from auditor_svc.metrics import AuditMetrics
from auditor_svc.shell import Auditor
from auditor_svc.store import Store
from broker.errors import KeyringError
from broker.runtime.process import Context, service_main
from broker.runtime.settings import audit_dsn


async def audit(context: Context) -> None:
    """Audit until the process is to end.

    Raises:
        SettingsError: no database is named, or the file that names it cannot be read.
        KeyringError: the key file is not the auditor's.
    """
    settings = context.settings
    dsn = audit_dsn(settings)
    public_key = context.keyring.checkpoint_public
    if public_key is None:
        raise KeyringError(f"{settings.keys_file} holds no checkpoint key; derive the auditor's key file again")
    auditor = Auditor(
        context.broker,
        Store(dsn),
        context.gate(),
        context.signer,
        context.keyring.sign_checkpoint,
        public_key,
        settings.home / FILE_NAME,
        metrics=AuditMetrics(context.metrics.registry),
        health=context.health,
        log=context.log,
    )
    await auditor.run()


def main() -> int:
    """Run the role; return its exit code."""
    return service_main("auditor", audit, needs_inventory=False)


if __name__ == "__main__":
    raise SystemExit(main())
