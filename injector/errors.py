"""Errors of the injector.

```
InjectorError
├── UnknownFaultError     no such fault; names the nearest
├── BadTargetError        the fault does not apply to this target; names those it applies to
├── BadArgumentError      an argument is unknown or out of bounds
├── NotOpenError          there is no open fault of this id
├── NoEvidenceError       injected, but the world does not show it (or healed, and it still does)
├── WorldError            the platform could not carry it out; what was begun stays in the journal of faults
└── NotHealedError        some of all open faults could not be mended; names them
```
"""

from __future__ import annotations


class InjectorError(Exception):
    """Base. The text says what, on which target, and what to do next."""


class UnknownFaultError(InjectorError):
    """No fault of this name."""


class BadTargetError(InjectorError):
    """The fault does not apply to this target."""


class BadArgumentError(InjectorError):
    """An argument is unknown or out of bounds."""


class NotOpenError(InjectorError):
    """No open fault has this id."""


class NoEvidenceError(InjectorError):
    """The world does not show what it should."""


class WorldError(InjectorError):
    """The platform could not carry out an injection or a healing, or show whether the fault is there."""


class NotHealedError(InjectorError):
    """Some faults are left after all were tried."""
