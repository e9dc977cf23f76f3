"""Errors of the harness, each with its exit code.

```
HarnessError                 1
├── BadScenarioError         2   a scenario file that cannot be run as it stands
├── BadModelError            2   a file that is no model, or none that can be served
├── NotFoundError            3   no such scenario, incident or recording
├── RefusedError             4   the system refused the input, by name
├── ConflictError            4   something else holds the name or the port that the stack needs
├── BadRecordingError        5   a recording that was cut, edited or is of an unknown format
├── DamagedModelError        5   a model file that was cut, or whose bytes are not the known ones
├── NotVerifiedError         5   the run ended without a verified repair
├── TimedOutError            6   the run did not end in time
├── StackDownError           7   nothing to run on
├── ModelDownError           7   no local model: its extra, its bytes or its endpoint is not there
└── DockerError              7   no docker, none that can be used, or it could not do what was asked
```
"""

from __future__ import annotations

from typing import ClassVar


class HarnessError(Exception):
    """Base. The text says what happened, to what, and what to do next."""

    exit_code: ClassVar[int] = 1


class BadScenarioError(HarnessError):
    """The scenario cannot be run as it stands."""

    exit_code = 2


class BadModelError(HarnessError):
    """The file is no model, or none that can be served."""

    exit_code = 2


class NotFoundError(HarnessError):
    """No such scenario, incident or recording."""

    exit_code = 3


class RefusedError(HarnessError):
    """The system refused the input."""

    exit_code = 4


class ConflictError(HarnessError):
    """Something else holds the name or the port that the stack needs."""

    exit_code = 4


class BadRecordingError(HarnessError):
    """The recording is cut, edited, or not of a known format."""

    exit_code = 5


class DamagedModelError(HarnessError):
    """The model file was cut, or its bytes are not the known ones."""

    exit_code = 5


class NotVerifiedError(HarnessError):
    """The run ended without a verified repair."""

    exit_code = 5


class TimedOutError(HarnessError):
    """The run did not end in time."""

    exit_code = 6


class StackDownError(HarnessError):
    """There is no stack to run on, or it does not answer."""

    exit_code = 7


class ModelDownError(HarnessError):
    """The extra that serves models is not installed, a model's bytes cannot be had, or no endpoint answers."""

    exit_code = 7


class DockerError(HarnessError):
    """Docker is missing, cannot be used, or could not do what was asked."""

    exit_code = 7
