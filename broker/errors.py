"""Errors of the wire.

```
BrokerError
├── Refusal                      a message that the gate does not let in; `name` is the counter's label
│   ├── BadFrameError            bad_frame           not a MessagePack frame of the known shape
│   ├── TooLargeError            too_large           longer than the limit
│   ├── UnknownKeyVersionError   unknown_key_version the keyring has no such version
│   ├── BadMacError              bad_mac             the bytes are not what the sender signed
│   ├── WrongChannelError        wrong_channel       this sender or channel may not speak on this subject
│   ├── ExpiredError             expired             older than its TTL
│   ├── FromTheFutureError       from_the_future     stamped later than the allowed skew
│   ├── ReplayedError            replayed            its nonce was seen at another place of the journal
│   └── SchemaError              wrong_schema        the payload is not what the type promises
├── PublishError                 what the broker says of a publish
│   ├── AlreadyExistsError       definite: the subject already holds a message (`seq`)
│   ├── FencedError              definite: the claim moved on; this worker's result is refused
│   ├── DuplicateError           definite: the message id was stored before
│   ├── NotAllowedError          definite: this user has no permission for the subject
│   ├── JournalFullError         definite: the journal's disk or limit is full; nothing was stored
│   └── UnknownOutcomeError      indefinite: no answer; the message may or may not be stored
├── BrokerDownError              no connection to the broker
│   └── BrokerClosedError        nor will there be one: it was closed for good
├── DivergenceError              a machine decided something else than the journal says it did
├── SnapshotError                a snapshot is damaged or of another machine; the journal is read instead
├── SchemaVersionError           a database's schema and a package's do not go together
├── KeyringError                 wrong passphrase, damaged or missing key file
└── SettingsError                bad configuration; names the key and the nearest known one
```

Definite errors decide what happens next (ack, drop, compare); an indefinite one is retried with the same message id.
"""

from __future__ import annotations

from typing import ClassVar


class BrokerError(Exception):
    """Base of all errors of this package."""


class Refusal(BrokerError):
    """A message was not let in. The message is not lost: it stays in the journal and is audited by name."""

    name: ClassVar[str] = "refused"


class BadFrameError(Refusal):
    """The bytes are not a frame of the known shape."""

    name = "bad_frame"


class TooLargeError(Refusal):
    """The frame is longer than the limit."""

    name = "too_large"


class UnknownKeyVersionError(Refusal):
    """The keyring does not hold this version of the channel's key."""

    name = "unknown_key_version"


class BadMacError(Refusal):
    """The MAC does not fit the bytes."""

    name = "bad_mac"


class WrongChannelError(Refusal):
    """Sender, channel, type and subject do not belong together."""

    name = "wrong_channel"


class ExpiredError(Refusal):
    """The message is older than its TTL plus the allowed skew."""

    name = "expired"


class FromTheFutureError(Refusal):
    """The message is stamped later than now plus the allowed skew."""

    name = "from_the_future"


class ReplayedError(Refusal):
    """The nonce was seen before, at another sequence of the journal."""

    name = "replayed"


class SchemaError(Refusal):
    """The payload is not a value of its type."""

    name = "wrong_schema"

    def __init__(self, contract: str, detail: str) -> None:
        super().__init__(f"{contract}: {detail}")
        self.contract = contract
        self.detail = detail


REFUSALS: tuple[type[Refusal], ...] = (
    BadFrameError,
    TooLargeError,
    UnknownKeyVersionError,
    BadMacError,
    WrongChannelError,
    ExpiredError,
    FromTheFutureError,
    ReplayedError,
    SchemaError,
)


class PublishError(BrokerError):
    """The broker did not take the message as asked."""


class AlreadyExistsError(PublishError):
    """The subject already holds a message; `seq` is its journal sequence."""

    def __init__(self, subject: str, seq: int) -> None:
        super().__init__(f"{subject} already stands in the journal at {seq}")
        self.subject = subject
        self.seq = seq


class FencedError(PublishError):
    """Another worker holds the claim now."""


class DuplicateError(PublishError):
    """This message id was stored before; `seq` is where."""

    def __init__(self, subject: str, seq: int) -> None:
        super().__init__(f"{subject} was stored before at {seq}")
        self.subject = subject
        self.seq = seq


class NotAllowedError(PublishError):
    """The broker's permissions forbid this subject to this user."""


class JournalFullError(PublishError):
    """The journal cannot take more; nothing was stored."""


class UnknownOutcomeError(PublishError):
    """No answer came; the message may or may not be stored."""


class BrokerDownError(BrokerError):
    """There is no connection to the broker."""


class BrokerClosedError(BrokerDownError):
    """The connection was closed for good, by us or by the server: only a new process, or connection, has one again."""


class DivergenceError(BrokerError):
    """A machine, fed the same events, decided something else than the journal holds.

    `subject` names the command, `recorded` and `decided` are both texts, `cause` the sequence of the event that led
    to it.
    """

    def __init__(self, subject: str, recorded: bytes | None, decided: bytes | None, cause: int) -> None:
        super().__init__(f"{subject} (caused by {cause}): journal has {recorded!r}, machine decides {decided!r}")
        self.subject = subject
        self.recorded = recorded
        self.decided = decided
        self.cause = cause


class SnapshotError(BrokerError):
    """A snapshot cannot be used: damaged, or of another machine or version. Nothing is lost: the journal has it all."""


class SchemaVersionError(BrokerError):
    """A database's schema and a package's do not go together."""


class KeyringError(BrokerError):
    """The key file cannot be opened."""


class SettingsError(BrokerError):
    """The configuration is wrong."""
