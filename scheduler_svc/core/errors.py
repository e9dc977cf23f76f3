"""Errors of the scheduler's core.

```
SchedulerError
└── InvariantError    a state or a step breaks a rule of `invariants.py`: a defect, never bad input
```

Bad input raises nothing here: a plan that cannot be is refused with its reasons, a message that fits nothing is
counted.
"""

from __future__ import annotations


class SchedulerError(Exception):
    """Base of all errors of the scheduler."""


class InvariantError(SchedulerError):
    """A rule of the machine does not hold; `broken` names every one, a sentence each."""

    def __init__(self, broken: tuple[str, ...]) -> None:
        super().__init__("; ".join(broken))
        self.broken = broken
