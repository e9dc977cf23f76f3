"""Errors of the injector.

```
InjectorError
├── UnknownFaultError     no such fault; names the nearest
├── BadTargetError        the fault does not apply to this target; names those it applies to
├── BadArgumentError      an argument is unknown or out of bounds
├── NotHereError          the fault cannot be made on this platform; names those where it can
├── DamagedNoteError      the note of an open fault cannot be read; names its file
├── NotOpenError          there is no open fault of this id
├── NoEvidenceError       injected, but the world does not show it (or healed, and it still does)
├── WorldError            the platform could not carry it out; what was begun stays in the journal of faults
└── NotHealedError        some of all open faults could not be mended; names them
```
"""

from __future__ import annotations

from services.platform.port import (
    NotManagedError,
    NotOnThisPlatformError,
    PlatformDownError,
    PlatformError,
    RefusedError,
    UnknownWorkloadError,
)


class InjectorError(Exception):
    """Base. The text says what, on which target, and what to do next."""


class UnknownFaultError(InjectorError):
    """No fault of this name."""


class BadTargetError(InjectorError):
    """The fault does not apply to this target."""


class BadArgumentError(InjectorError):
    """An argument is unknown or out of bounds."""


class NotHereError(InjectorError):
    """The fault cannot be made on this platform."""


class DamagedNoteError(InjectorError):
    """What is written down of an open fault cannot be read, so nobody knows how to mend it."""


class NotOpenError(InjectorError):
    """No open fault has this id."""


class NoEvidenceError(InjectorError):
    """The world does not show what it should."""


class WorldError(InjectorError):
    """The platform could not carry out an injection or a healing, or show whether the fault is there."""


class NotHealedError(InjectorError):
    """Some faults are left after all were tried."""


WORLD_EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (UnknownWorkloadError, 3),
    (NotManagedError, 4),
    (RefusedError, 4),
    (NotOnThisPlatformError, 4),
    (PlatformDownError, 7),
    (PlatformError, 1),
)
"""What the platform's own refusals mean as an exit code, for who may not import the platform. First match wins."""


def world_exit_code(error: BaseException | None) -> int | None:
    """Return the exit code of a platform's error, or of one that was made from it; None if it is neither."""
    while error is not None:
        for kind, code in WORLD_EXIT_CODES:
            if isinstance(error, kind):
                return code
        error = error.__cause__
    return None
