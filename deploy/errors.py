"""Errors that every kind of deployment may raise.

```
StackError           base: the stack could not be brought where it was asked to be
├── HomeError        the folder of a stack cannot be used: path too long, not writable, not ours to wipe, damaged
└── NotReadyError    a server that is needed did not answer in time
```

`deploy.embedded.errors` adds those of the embedded stack.
"""

from __future__ import annotations


class StackError(Exception):
    """Base: the stack could not be brought where it was asked to be."""


class HomeError(StackError):
    """The folder of a stack cannot be used."""


class NotReadyError(StackError):
    """A server that is needed did not answer in time."""
