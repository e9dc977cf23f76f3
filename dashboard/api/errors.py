"""What the API refuses, and how it says so: always `{error, message, next}`.

```
Problem                  a name, a status, one sentence of what happened, one of what to do
```

`problem_of` turns every foreseen error of the layers below into one; what nobody foresaw stays an error of the program.
"""

from __future__ import annotations

from auditor_svc.errors import AuditError, StoreDownError
from broker.errors import (
    AlreadyExistsError,
    BrokerDownError,
    BrokerError,
    JournalFullError,
    KeyringError,
    NotAllowedError,
    SettingsError,
    UnknownOutcomeError,
)
from deploy.errors import StackError
from harness.errors import (
    BadRecordingError,
    BadScenarioError,
    HarnessError,
    NotFoundError,
    RefusedError,
    StackDownError,
)
from injector.errors import (
    BadArgumentError,
    BadTargetError,
    InjectorError,
    NotHereError,
    NotOpenError,
    UnknownFaultError,
    world_exit_code,
)


class Problem(Exception):
    """A request that was not carried out."""

    def __init__(self, status: int, error: str, message: str, next_: str) -> None:
        """
        Args:
            error: stable name, for programs.
            message: what happened, to what. next_: what to do about it.
        """
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.next = next_

    @property
    def undone(self) -> bool:
        """Nothing was done, and the same request may be sent again."""
        return self.status >= 500


_TRY_AGAIN = "Try again in a moment; see: triage status"
_LOOK_UP = "Look at the list again and choose from it."
_TABLE: tuple[tuple[type[Exception], int, str, str], ...] = (
    (UnknownFaultError, 404, "not_found", _LOOK_UP),
    (NotOpenError, 404, "not_found", _LOOK_UP),
    (BadTargetError, 422, "bad_request", "Choose a target that the fault names."),
    (BadArgumentError, 422, "bad_request", "Keep within the bounds that the fault names."),
    (NotHereError, 501, "not_here", "Choose another fault, or another platform."),
    (InjectorError, 409, "world_refused", "See: triage faults --open"),
    (NotFoundError, 404, "not_found", _LOOK_UP),
    (BadRecordingError, 409, "bad_recording", "Record the run again."),
    (BadScenarioError, 422, "bad_request", _LOOK_UP),
    (RefusedError, 409, "refused", "Mend what is said and send it again."),
    (StackDownError, 503, "stack_down", "Start the stack with: triage up"),
    (HarnessError, 409, "refused", "See: triage status"),
    (AlreadyExistsError, 409, "already_said", "Somebody was faster; look at what stands now."),
    (NotAllowedError, 403, "not_allowed", "The broker lets this role not say that; see docs/security.md."),
    (
        UnknownOutcomeError,
        503,
        "unknown_outcome",
        "Send it again with the same Idempotency-Key: it is stored once at most.",
    ),
    (JournalFullError, 503, "journal_full", "Make room on the disk."),
    (BrokerDownError, 503, "stack_down", _TRY_AGAIN),
    (SettingsError, 500, "bad_settings", "See: triage doctor"),
    (KeyringError, 503, "keys_unreadable", "See: triage doctor"),
    (BrokerError, 503, "stack_down", _TRY_AGAIN),
    (StoreDownError, 503, "audit_down", _TRY_AGAIN),
    (AuditError, 503, "audit_down", "See: triage doctor"),
    (StackError, 503, "stack_down", _TRY_AGAIN),
)
"""First match wins."""


_WORLD = {3: (404, "not_found"), 4: (409, "world_refused"), 7: (503, "stack_down")}


def problem_of(error: Exception) -> Problem | None:
    """Return a foreseen error as a problem; None for one that nobody foresaw."""
    if isinstance(error, Problem):
        return error
    for kind, status, name, next_ in _TABLE:
        if isinstance(error, kind):
            return Problem(status, name, _sentence(str(error)), next_)
    if (code := world_exit_code(error)) is not None:
        status, name = _WORLD.get(code, (409, "world_refused"))
        return Problem(status, name, _sentence(str(error)), "See: triage status")
    return None


def _sentence(text: str) -> str:
    text = " ".join(text.split())[:700]
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def not_found(what: str) -> Problem:
    """Return the answer to a question for something that is not there."""
    return Problem(404, "not_found", f"There is no {what}.", _LOOK_UP)


def bad_request(message: str, next_: str = "Mend the request and send it again.") -> Problem:
    """Return the answer to a request that cannot be read."""
    return Problem(422, "bad_request", message, next_)
