"""Run a program as another user, for servers that refuse to run as root (PostgreSQL): a script of its own, started as
`python -I -S unprivileged.py USER PROGRAM ARGUMENT...`, that replaces itself with the program.

The home of a stack, and often the packages too, lie in root's own home, where nobody else may pass. Opening those
folders for everyone would change what is not ours, so the program keeps one capability instead: to read and pass
(CAP_DAC_READ_SEARCH, else CAP_DAC_OVERRIDE, which containers have). It can write only what belongs to its user.
"""

import ctypes
import os
import pwd
import sys

PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def held_capabilities() -> int:
    """Return this process's effective capabilities as a bit set."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next((int(line.split()[1], 16) for line in file if line.startswith("CapEff:")), 0)


def keep(libc: ctypes.CDLL, capability: int) -> None:
    """Hold exactly one capability, also in the program that is about to be executed.

    Raises:
        OSError: the kernel does not allow it.
    """
    mask = 1 << capability
    header = _Header(CAPABILITY_VERSION_3, 0)
    data = (_Data * 2)(_Data(mask, mask, mask), _Data(0, 0, 0))
    if libc.capset(ctypes.byref(header), ctypes.byref(data)) or libc.prctl(
        PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def become(user: str) -> None:
    """Give up root for `user`, and everything with it but the one capability.

    Raises:
        KeyError: no such user. OSError: the kernel does not allow it.
    """
    entry = pwd.getpwnam(user)
    libc = ctypes.CDLL(None, use_errno=True)
    held = held_capabilities()
    wanted = next((cap for cap in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if held & 1 << cap), None)
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if wanted is not None:
        keep(libc, wanted)


def main(arguments: list[str]) -> int:
    """Become the user and then the program; returns only if that fails."""
    if len(arguments) < 2:
        sys.stderr.write("usage: unprivileged.py USER PROGRAM [ARGUMENT...]\n")
        return 2
    user, program = arguments[0], arguments[1:]
    try:
        become(user)
        os.execv(program[0], program)  # noqa: S606 (no shell is the point)
    except (OSError, KeyError) as error:
        sys.stderr.write(f"cannot run {program[0]} as {user}: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
