"""`python -m deploy.docker.setup [begin-rotation [--force] | finish-rotation]`: draws the stack's secrets.

Each is put where it may be known. Runs to its end before anything else of the compose stack starts. Run again it
changes nothing but what is missing: `vault` remembers. A rotation's passes write every role's key file; roles are told
after each (`triage keys rotate --announce`). Their output is the version. One that runs beside another waits for it.
Exit code 0: done; 1: the volumes cannot be used; 2: bad use; 4: the keys refuse it, or another one does not end.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from broker.contracts.base import Frozen
from broker.errors import KeyringError, SchemaError
from broker.keyring import Keyring
from broker.runtime.locks import exclusive
from broker.subjects import ADMIN_USER, BROKER_USERS, Role
from deploy import keyfiles
from deploy.docker import volumes
from deploy.errors import HomeError, StackError
from deploy.keyfiles import RoleFile, ensure_master, ensure_role_files
from deploy.nats.config import Cluster, queue_config, server_config
from deploy.vault import Secrets, ensure_secrets, write_private

ADMINISTRATOR = "postgres"
AUDITOR, OPERATOR, RUNBOOKS = "auditor", "operator", "runbooks"
"""Who logs in at the audit server; the audit's own database is named like the first, the runbooks' like the last."""
LOCK_TIMEOUT_S = 60.0
"""How long another run may take; a pass of a rotation takes a second or two."""
NODES_VARIABLE = "TRIAGE_NATS_NODES"
"""1, or 3 with the compose profile `cluster`. `setup` and `prepare` read it."""
CLUSTER = ("nats", "nats-2", "nats-3")
STORE = Path("/var/lib/nats")
"""Where a NATS server keeps its streams: no folder of its image, for an empty volume would take that one's owner."""
OPERATOR_FOLDERS = ("keys", "recordings", "faults")


class ContainerSecrets(Frozen):
    """What only the compose stack has: tokens of the platform proxy's clients, and what opens each key file."""

    master_passphrase: str
    cluster_password: str
    """What the broker's nodes show each other."""
    passphrases: Mapping[str, str]
    tokens: Mapping[str, str]
    dashboard_token: str = ""
    """What every page of the stack's dashboard must show; empty only in a vault that is older than it."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Every secret of one stack, and where its volumes are mounted."""

    root: Path
    databases: Secrets = field(repr=False)
    containers: ContainerSecrets = field(repr=False)
    nodes: int = 1
    """How many nodes the broker has."""

    @property
    def master_file(self) -> Path:
        """The master key file."""
        return self.root / volumes.VAULT / "master.keys"

    @property
    def role_files(self) -> list[RoleFile]:
        """Where each role's key file lies."""
        return [RoleFile(role, self._key_file(role), self.containers.passphrases[role]) for role in _key_roles()]

    def _key_file(self, role: Role) -> Path:
        if role == "operator":
            return self.root / volumes.OPERATOR / "keys" / "operator.keys"
        return self.root / volumes.role_volume(role) / f"{role}.keys"


async def set_up(root: Path, nodes: int = 1) -> None:
    """Write whatever is missing below `root`; what is there keeps its secrets.

    Args:
        nodes: how many nodes the broker has, 1 or 3.

    Raises:
        HomeError: a volume is not there, cannot be written, or its secrets are damaged. KeyringError: so are its keys.
    """
    stack = replace(open_stack(root), nodes=nodes)
    for name in OPERATOR_FOLDERS:
        (root / volumes.OPERATOR / name).mkdir(mode=0o700, exist_ok=True)
    master = await asyncio.to_thread(ensure_master, stack.master_file, stack.containers.master_passphrase)
    await ensure_role_files(master, stack.role_files)
    for path, text in files(stack, master).items():
        _write(root / path, text)


async def begin_rotation(root: Path, *, force: bool = False) -> int:
    """Do the first pass of a rotation (`deploy/keyfiles.py`); return the new version, which nobody signs with yet.

    Raises:
        HomeError, KeyringError: as `set_up`; KeyringError also when nothing was set up yet, or the version that
            would be dropped is too young.
    """
    stack = open_stack(root)
    passphrase = stack.containers.master_passphrase
    return (await keyfiles.begin(stack.master_file, passphrase, stack.role_files, force=force)).versions[-1]


async def finish_rotation(root: Path) -> int:
    """Do the second pass; return the version that everybody signs with from now on.

    Raises:
        HomeError, KeyringError: as `begin_rotation`.
    """
    stack = open_stack(root)
    return (await keyfiles.finish(stack.master_file, stack.containers.master_passphrase, stack.role_files)).current


@asynccontextmanager
async def changing(root: Path) -> AsyncIterator[None]:
    """Be the only one who changes the volumes, after waiting for whoever does so now.

    Two who read the same master, or the same empty vault, would each draw secrets of their own.

    Raises:
        HomeError: a volume is not mounted. KeyringError: the other one does not end.
    """
    _require_mounted(root)
    async with AsyncExitStack() as held:
        try:
            async with asyncio.timeout(LOCK_TIMEOUT_S):
                await held.enter_async_context(exclusive(root / volumes.VAULT / "lock"))
        except TimeoutError as error:
            raise KeyringError("the stack is going up, or its keys are being rotated; try again after that") from error
        yield


def open_stack(root: Path) -> Stack:
    """Return the secrets of the vault; draw them the first time.

    Raises:
        HomeError: a volume is not mounted, or the vault is damaged.
    """
    _require_mounted(root)
    vault = root / volumes.VAULT
    return Stack(root, ensure_secrets(vault / "secrets.json"), _container_secrets(vault / "containers.json"))


def _require_mounted(root: Path) -> None:
    missing = [name for name in volumes.SECRET_VOLUMES if not (root / name).is_dir()]
    if missing:
        raise HomeError(f"no volume is mounted at {root / missing[0]}; start this with the stack's compose file")


def files(stack: Stack, master: Keyring) -> dict[str, str]:
    """Return every file but the key files: path below the root -> text. Pure."""
    databases, containers = stack.databases, stack.containers
    auditor_dsn = _dsn(AUDITOR, databases.audit_db_password, "audit-db", AUDITOR)
    operator_dsn = _dsn(OPERATOR, databases.audit_operator_password, "audit-db", AUDITOR)
    runbooks_dsn = _dsn(RUNBOOKS, databases.runbooks_db_password, "audit-db", RUNBOOKS)
    reading_dsn = _dsn(OPERATOR, databases.audit_operator_password, "audit-db", RUNBOOKS)
    learning_dsn = _dsn(RUNBOOKS, databases.runbooks_db_password, "audit-db", AUDITOR)
    passphrases = {f"{_home_of(role)}/passphrase": f"{containers.passphrases[role]}\n" for role in _key_roles()}
    tokens = {
        path: f"{token}\n"
        for client, token in containers.tokens.items()
        for path in (f"{volumes.TOKENS}/{client}.token", f"{volumes.role_volume(client)}/platform.token")
    }
    return {
        **passphrases,
        **tokens,
        **_server_files(stack, master),
        f"{volumes.role_volume('auditor')}/audit.dsn": f"{auditor_dsn}\n",
        f"{volumes.OPERATOR}/audit.dsn": f"{operator_dsn}\n",
        f"{volumes.role_volume('runbook')}/runbooks.dsn": f"{runbooks_dsn}\n",
        f"{volumes.role_volume('runbook')}/audit.dsn": f"{learning_dsn}\n",
        f"{volumes.OPERATOR}/runbooks.dsn": f"{reading_dsn}\n",
        f"{volumes.OPERATOR}/dashboard.token": f"{containers.dashboard_token}\n",
        f"{volumes.PREPARE}/runbooks.password": f"{databases.runbooks_db_password}\n",
        f"{volumes.PREPARE}/nats-admin.password": f"{master.broker_password(ADMIN_USER)}\n",
        f"{volumes.PREPARE}/auditor.password": f"{databases.audit_db_password}\n",
        f"{volumes.PREPARE}/operator.password": f"{databases.audit_operator_password}\n",
        f"{volumes.PREPARE}/audit-admin.dsn": _admin_dsn(databases.audit_admin_password, "audit-db", AUDITOR),
        f"{volumes.SHOP_PREPARE}/admin.dsn": _admin_dsn(databases.shop_admin_password, "shop-db", ADMINISTRATOR),
        f"{volumes.SHOP_PREPARE}/catalog.password": f"{databases.catalog_db_password}\n",
        f"{volumes.SHOP_PREPARE}/orders.password": f"{databases.orders_db_password}\n",
        f"{volumes.shop_volume('catalog')}/db.password": f"{databases.catalog_db_password}\n",
        f"{volumes.shop_volume('orders')}/db.password": f"{databases.orders_db_password}\n",
    }


def _server_files(stack: Stack, master: Keyring) -> dict[str, str]:
    queue = queue_config(port=4222, monitoring_port=8222, store=STORE, host="0.0.0.0")  # noqa: S104
    return {
        **{f"{volumes.NATS}/{node}.conf": _broker_config(stack, master, node) for node in CLUSTER[: stack.nodes]},
        f"{volumes.QUEUE}/nats.conf": queue,
        f"{volumes.AUDIT_DB}/admin.password": f"{stack.databases.audit_admin_password}\n",
        f"{volumes.SHOP_DB}/admin.password": f"{stack.databases.shop_admin_password}\n",
    }


def _broker_config(stack: Stack, master: Keyring, node: str) -> str:
    return server_config(
        port=4222,
        monitoring_port=8222,
        store_dir=STORE,
        passwords={user: master.broker_password(user) for user in BROKER_USERS},
        host="0.0.0.0",  # noqa: S104 - a container's own address; the compose file's networks are the wall
        monitoring_host="0.0.0.0",  # noqa: S104
        server_name=node,
        cluster=Cluster(CLUSTER, stack.containers.cluster_password) if stack.nodes > 1 else None,
    )


def nodes_wanted(environment: Mapping[str, str]) -> int:
    """Return how many nodes the broker is to have.

    Raises:
        HomeError: neither 1 nor 3.
    """
    text = environment.get(NODES_VARIABLE) or "1"
    if text not in ("1", "3"):
        raise HomeError(f"{NODES_VARIABLE} is {text[:20]!r}; it may be 1, or 3 with the profile `cluster`")
    return int(text)


def _container_secrets(path: Path) -> ContainerSecrets:
    try:
        known = ContainerSecrets.decode(path.read_bytes())
    except FileNotFoundError:
        known = ContainerSecrets(
            master_passphrase=secrets.token_urlsafe(32),
            cluster_password=secrets.token_hex(24),
            passphrases={},
            tokens={},
        )
    except (OSError, SchemaError) as error:
        raise HomeError(f"{path} cannot be used ({error}); `docker compose down -v` removes its data") from error
    # What is there stays as it is; a role that is new since then gets its own.
    drawn = known.model_copy(
        update={
            "passphrases": {r: known.passphrases.get(r) or secrets.token_urlsafe(32) for r in _key_roles()},
            "tokens": {client: known.tokens.get(client) or secrets.token_urlsafe(32) for client in volumes.CLIENTS},
            "dashboard_token": known.dashboard_token or secrets.token_urlsafe(24),
        }
    )
    if drawn != known:
        write_private(path, drawn.encode())
    return drawn


def _write(path: Path, text: str) -> None:
    """Write a file unless it says so already. The databases and the platform proxy run as others, but in our group."""
    mode = 0o640 if path.parent.name in (volumes.AUDIT_DB, volumes.SHOP_DB, volumes.TOKENS) else 0o600
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_private(path, text.encode())
    if path.stat().st_mode & 0o777 != mode:
        path.chmod(mode)


def _key_roles() -> tuple[Role, ...]:
    return (*volumes.RUNNING, "operator")


def _home_of(role: Role) -> str:
    return volumes.OPERATOR if role == "operator" else volumes.role_volume(role)


def _dsn(user: str, password: str, host: str, database: str) -> str:
    return f"postgresql://{user}:{password}@{host}:5432/{database}"


def _admin_dsn(password: str, host: str, database: str) -> str:
    return f"{_dsn(ADMINISTRATOR, password, host, database)}\n"


VERBS: Mapping[tuple[str, ...], Callable[[Path], Coroutine[Any, Any, int | None]]] = {
    (): lambda root: set_up(root, nodes_wanted(os.environ)),
    ("begin-rotation",): begin_rotation,
    ("begin-rotation", "--force"): lambda root: begin_rotation(root, force=True),
    ("finish-rotation",): finish_rotation,
}


async def _alone(verb: Callable[[Path], Coroutine[Any, Any, int | None]], root: Path) -> int | None:
    async with changing(root):
        return await verb(root)


def main(arguments: list[str]) -> int:
    """Set up or rotate; return the exit code."""
    verb = VERBS.get(tuple(arguments))
    if verb is None:
        sys.stderr.write("setup: it takes nothing, `begin-rotation [--force]`, or `finish-rotation`\n")
        return 2
    os.umask(0o077)
    try:
        version = asyncio.run(_alone(verb, Path(volumes.ROOT)))
    except KeyringError as error:
        sys.stderr.write(f"setup: {error}\n")
        return 4
    except (StackError, OSError) as error:
        sys.stderr.write(f"setup: {error}\n")
        return 1
    if version is not None:
        sys.stdout.write(f"{version}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
