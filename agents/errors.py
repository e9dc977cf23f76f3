"""Errors of the agents.

```
AgentError
├── SourceError              a source of measurements has no answer; the next source is asked, so it never is a result
├── WorkError                the task failed now and may succeed later: the scheduler tries again
└── DefiniteError            trying again cannot help: the scheduler asks for another plan
    ├── RefusedError         refused         the order is outside the catalogue or the target is not managed
    ├── PreconditionError    precondition    the world is not as the action needs it
    └── UnhealthyError       unhealthy       the workload did not become healthy in the time given
```

`code` stands in the result's `error_code`.
"""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """Base. The text is the result's sentence."""

    code: ClassVar[str] = "failed"


class SourceError(AgentError):
    """A source of measurements is away, answers wrongly or holds nothing for the question."""


class WorkError(AgentError):
    """The task failed now; a retry may succeed."""


class DefiniteError(AgentError):
    """The task failed for good."""


class RefusedError(DefiniteError):
    """The order is not in the catalogue, or its target may not be touched."""

    code = "refused"


class PreconditionError(DefiniteError):
    """The action does not apply to the world as it is."""

    code = "precondition"


class UnhealthyError(DefiniteError):
    """The workload stayed unhealthy for the whole time it was given."""

    code = "unhealthy"
