"""Errors of the planner's shell. Its core raises only `UnusableAnswerError`, inside.

```
PlannerError
├── RulebookError            the rulebook's files are damaged; the role ends, and says which file
├── PromptError              a prompt template is missing or damaged; the role ends, and says which file
├── ModelKeyError            the file with the endpoint's key cannot be read
├── ModelAddressError        the endpoint's address is none
└── ModelError               the model's endpoint gave no usable answer; `outcome` is what the journal says
    ├── ModelUnreachableError  unreachable   nothing listens there, or the connection broke
    ├── ModelTimeoutError      timeout       no whole answer in time
    └── ModelRefusedError      error         an HTTP error, no model loaded, a cut-off or shapeless answer
```
"""

from __future__ import annotations

from typing import ClassVar, Literal

from broker.errors import SettingsError

Outcome = Literal["unreachable", "timeout", "error"]


class PlannerError(Exception):
    """Base of all errors of this package."""


class RulebookError(PlannerError, SettingsError):
    """A file of the rulebook is missing or wrong: the installation is damaged."""


class PromptError(PlannerError, SettingsError):
    """A prompt template is missing or wrong: the installation is damaged."""


class ModelKeyError(PlannerError, SettingsError):
    """The key file is missing or empty: a fault of the settings."""


class ModelAddressError(PlannerError, SettingsError):
    """The model's address cannot be one: a fault of the settings. The text never holds its user and password."""


class ModelError(PlannerError):
    """The endpoint gave no usable answer. The text is safe to store: it never holds a key."""

    outcome: ClassVar[Outcome] = "error"


class ModelUnreachableError(ModelError):
    """Nothing listens at the endpoint, or the connection broke before the answer was whole."""

    outcome = "unreachable"


class ModelTimeoutError(ModelError):
    """The endpoint took too long."""

    outcome = "timeout"


class ModelRefusedError(ModelError):
    """The endpoint answered, and not with a whole completion."""

    outcome = "error"
