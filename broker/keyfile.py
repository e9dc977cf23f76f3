"""Encrypted key files: AES-256-GCM under a key that scrypt makes of a passphrase.

A file is one JSON object: format, owner, salt and nonce in the open (authenticated as associated data), the rest
sealed. The format fixes scrypt's cost, so a doctored header cannot make a reader burn memory. Opening a file takes
32 MiB (128 * r * n) and some 80 ms once; the rest of a role's life is cheap HMACs.

Files are replaced atomically and synced, mode 0600, and refused when anyone else may read them.

The passphrase itself is the first line of a file; `read_passphrase` is the only way in which anybody reads it.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from broker.errors import KeyringError

FORMAT: Final = "agentic-triage-keys/1"
MAX_FILE: Final = 1 << 20
"""Longest key file, bytes."""
_SCRYPT_N: Final = 2**15
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 1
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12


def write_sealed(path: Path, owner: str, content: dict[str, Any], passphrase: str, *, replace: bool) -> None:
    """Seal `content` for `owner` into `path`, atomically and durably, mode 0600.

    Raises:
        KeyringError: the passphrase is empty, the file exists and `replace` is false, or it cannot be written; an
            existing file is then as it was.
    """
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    header = {"format": FORMAT, "owner": owner, "salt": salt.hex(), "nonce": nonce.hex()}
    plain = json.dumps(content, sort_keys=True).encode()
    sealed = AESGCM(_stretch(passphrase, salt, path)).encrypt(nonce, plain, _associated(header))
    text = json.dumps({**header, "sealed": base64.b64encode(sealed).decode()}, indent=1) + "\n"
    try:
        _write_atomically(path, text.encode(), replace=replace)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            raise KeyringError(f"key file {path} exists already; remove it first or rotate it") from error
        raise KeyringError(f"key file {path} cannot be written: {error.strerror or error}") from error


def read_sealed(path: Path, passphrase: str) -> tuple[str, dict[str, Any]]:
    """Open a key file; return its owner and its content.

    Raises:
        KeyringError: missing, unreadable, readable by others, damaged, or the passphrase is wrong.
    """
    header, sealed = _parse(path, _read_private(path))
    key = _stretch(passphrase, bytes.fromhex(header["salt"]), path)
    try:
        plain = AESGCM(key).decrypt(bytes.fromhex(header["nonce"]), sealed, _associated(header))
    except InvalidTag as error:
        raise KeyringError(f"wrong passphrase or damaged file {path}") from error
    content = json.loads(plain)
    if not isinstance(content, dict):
        raise _damaged(path)
    return header["owner"], content


def read_passphrase(path: Path) -> str:
    """Return a passphrase file's first line without the white space around it; further lines are the owner's notes.

    Raises:
        KeyringError: it is missing, unreadable, or its first line is empty.
    """
    try:
        line = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyringError(
            f"the passphrase file {path} cannot be read ({type(error).__name__}); is this the home of a "
            "stack? `triage up` makes one"
        ) from error
    if not line:
        raise KeyringError(f"the passphrase file {path} is empty; write the passphrase into its first line")
    return line


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyringError(f"key file {path} is not a regular file")
            if stat.S_IMODE(mode) & 0o077:
                raise KeyringError(
                    f"key file {path} may be read by others (mode {stat.S_IMODE(mode):04o}); chmod 600 it"
                )
            return file.read(MAX_FILE + 1)
    except FileNotFoundError as error:
        raise KeyringError(f"key file {path} is missing; create the keys with `triage up` first") from error
    except OSError as error:
        raise KeyringError(f"key file {path} cannot be read: {error.strerror or error}") from error


def _parse(path: Path, data: bytes) -> tuple[dict[str, str], bytes]:
    if len(data) > MAX_FILE:
        raise _damaged(path)
    try:
        document = json.loads(data)
        header = {name: document[name] for name in ("format", "owner", "salt", "nonce")}
        sealed = base64.b64decode(document["sealed"], validate=True)
        lengths = len(bytes.fromhex(header["salt"])), len(bytes.fromhex(header["nonce"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path) from error
    if lengths != (_SALT_BYTES, _NONCE_BYTES) or not all(isinstance(value, str) for value in header.values()):
        raise _damaged(path)
    if header["format"] != FORMAT:
        raise KeyringError(f"key file {path} has the format {header['format'][:40]!r}; this program reads {FORMAT}")
    return header, sealed


def _damaged(path: Path) -> KeyringError:
    return KeyringError(f"key file {path} is damaged: it is not a sealed key file; restore it or derive it again")


def _stretch(passphrase: str, salt: bytes, path: Path) -> bytes:
    if not passphrase:
        raise KeyringError(f"the passphrase for {path} is empty")
    return Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).derive(passphrase.encode())


def _associated(header: dict[str, str]) -> bytes:
    return json.dumps(header, sort_keys=True).encode()


def _write_atomically(path: Path, data: bytes, *, replace: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike a rename, this fails if the name is taken
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
