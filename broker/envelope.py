"""The envelope: what every message of the journal is wrapped in, and the MAC over its exact bytes.

A frame is a MessagePack map with exactly the keys of `FIELDS`, in that order and of exactly these types. The MAC is
HMAC-SHA256 over a length-prefixed encoding of a domain string and all fields but `hmac`, with the payload's bytes as
they stand in the frame: a reader never serialises anything again to verify, so no two readers can disagree about what
was signed, and no field can borrow bytes from its neighbour.

Keys are symmetric and per channel: whoever verifies a channel could also sign for it. That is why a key file holds
only the channels its role needs (`subjects.channels_of`), and why the broker's permissions say the same again.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import struct
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, get_args

import msgpack

from broker.contracts.base import Contract
from broker.contracts.plan import DecisionTag
from broker.errors import BadFrameError, TooLargeError, WrongChannelError
from broker.keyring import Keyring
from broker.subjects import Role, channel_of

VERSION: Final = 1
MAX_FRAME: Final = 256 * 1024
"""Longest frame, bytes. Checked before anything is parsed."""
DEFAULT_TTL_S: Final = 120.0
"""Spec 9: how long a message may be acted on after it was stamped, seconds."""
MAX_TTL_S: Final = 24 * 3_600.0
"""Longest TTL a sender may ask for, seconds: it bounds how long a gate must remember a nonce."""
NONCE_BYTES: Final = 16
MAC_BYTES: Final = hashlib.sha256().digest_size

FIELDS: Final = (
    "v",
    "type",
    "channel",
    "sender",
    "key_version",
    "seq",
    "ts",
    "ttl_s",
    "nonce",
    "cause",
    "tag",
    "payload",
    "hmac",
)

_MAP_OF_ALL: Final = bytes([0x80 | len(FIELDS)])
"""First byte of a MessagePack map with just so many pairs: how every frame of ours begins."""
_DOMAIN: Final = b"agentic-triage/envelope/1"
_MAX_INT: Final = 2**63 - 1
_MAX_KEY_VERSION: Final = 2**31 - 1
_MAX_NAME: Final = 64
_SENDER: Final = re.compile(r"[a-z]{1,32}/[a-z0-9][a-z0-9_-]{0,62}")
_TAGS: Final[frozenset[str]] = frozenset(get_args(DecisionTag))
_TYPES: Final = (int, str, str, str, int, int, int, float, bytes, int, str, bytes, bytes)
_LENGTH: Final = struct.Struct(">I")
_INTEGER: Final = struct.Struct(">q")
_REAL: Final = struct.Struct(">d")


class Envelope(NamedTuple):
    """A frame's fields. Parsed is not trusted: only the gate makes a message of it.

    A tuple, since one is made for each message of a journal: a frozen dataclass of so many fields takes six times as
    long.
    """

    v: int
    type: str
    channel: str
    sender: str
    """`<role>/<instance>`."""
    key_version: int
    seq: int
    """The sender's own count of what it sealed since it started."""
    ts: int
    """When it was sealed by the sender's clock, microseconds since the epoch."""
    ttl_s: float
    """Seconds after `ts` for which it may be acted on."""
    nonce: bytes
    cause: int
    """Journal sequence that led to this message; 0 if none did."""
    tag: DecisionTag
    payload: bytes
    hmac: bytes

    @property
    def role(self) -> str:
        """The sender's role as it claims; known to be one only after the gate's channel check."""
        return self.sender.partition("/")[0]

    @property
    def instance(self) -> str:
        """The sender's instance name."""
        return self.sender.partition("/")[2]

    def mac(self, key: bytes) -> bytes:
        """Return the MAC these fields must carry under `key`."""
        return hmac.digest(key, self._signed_bytes(), "sha256")

    def is_signed_by(self, key: bytes) -> bool:
        """Tell, in constant time, whether the MAC fits the fields under `key`."""
        return hmac.compare_digest(self.mac(key), self.hmac)

    def to_frame(self) -> bytes:
        """Return the frame's bytes."""
        return bytes(msgpack.packb({name: getattr(self, name) for name in FIELDS}, use_bin_type=True))

    def _signed_bytes(self) -> bytes:
        parts = (_DOMAIN, *map(_as_bytes, self[:-1]))
        return b"".join([piece for part in parts for piece in (_LENGTH.pack(len(part)), part)])


def _as_bytes(value: str | int | float | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int):
        return _INTEGER.pack(value)
    return _REAL.pack(value)


def open_frame(data: bytes) -> Envelope:
    """Parse a frame, trusting nothing in it.

    Raises:
        TooLargeError: longer than MAX_FRAME; nothing was parsed.
        BadFrameError: not a frame of exactly the known keys, order, types and ranges; the text says which.
    """
    if len(data) > MAX_FRAME:
        raise TooLargeError(f"frame of {len(data)} bytes; at most {MAX_FRAME} are allowed")
    values = _unpack(data)
    if not _is_sound(*values):
        for name, value in zip(FIELDS, values, strict=True):
            problem = _CHECKS[name](value)
            if problem:
                raise BadFrameError(f"field {name} {problem}")
    return Envelope(*values)


def _unpack(data: bytes) -> tuple[Any, ...]:
    """Return the values of a frame's fields, in their order."""
    try:
        if data[:1] == _MAP_OF_ALL:
            fields = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=False, max_ext_len=0)
            if tuple(fields) == FIELDS:  # as many keys as pairs, so none stood there twice
                return tuple(fields.values())
        pairs = msgpack.unpackb(
            data, raw=False, strict_map_key=True, use_list=False, object_pairs_hook=tuple, max_ext_len=0
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise BadFrameError(f"not MessagePack: {type(error).__name__} in {len(data)} bytes") from error
    if not isinstance(pairs, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise BadFrameError("not a map")
    # Pairs, not a dict: a repeated key or another order would be a second frame for the same message.
    if tuple(pair[0] for pair in pairs) != FIELDS:
        raise BadFrameError(f"keys are not exactly {', '.join(FIELDS)}")
    return tuple(pair[1] for pair in pairs)


def _is_sound(
    v: Any,
    type_: Any,
    channel: Any,
    sender: Any,
    key_version: Any,
    seq: Any,
    ts: Any,
    ttl_s: Any,
    nonce: Any,
    cause: Any,
    tag: Any,
    payload: Any,
    mac: Any,
) -> bool:
    """Tell in one go, for every message of a journal, what `_CHECKS` tells field by field: whether all are as they must
    be. They have the last word: what is not sound here is only refused for a fault that they name."""
    types = (
        type(v),
        type(type_),
        type(channel),
        type(sender),
        type(key_version),
        type(seq),
        type(ts),
        type(ttl_s),
        type(nonce),
        type(cause),
        type(tag),
        type(payload),
        type(mac),
    )
    return (
        types == _TYPES
        and v == VERSION
        and 0 < len(type_) <= _MAX_NAME
        and 0 < len(channel) <= _MAX_NAME
        and _SENDER.fullmatch(sender) is not None
        and 1 <= key_version <= _MAX_KEY_VERSION
        and 0 <= seq <= _MAX_INT
        and 0 <= ts <= _MAX_INT
        and 0.0 < ttl_s <= MAX_TTL_S  # neither infinite nor NaN then
        and len(nonce) == NONCE_BYTES
        and 0 <= cause <= _MAX_INT
        and tag in _TAGS
        and len(mac) == MAC_BYTES
    )


def _text(longest: int) -> Callable[[Any], str]:
    def fault(value: Any) -> str:
        return "" if type(value) is str and 0 < len(value) <= longest else f"is not a text of 1 to {longest} characters"

    return fault


def _integer(least: int, most: int = _MAX_INT) -> Callable[[Any], str]:
    def fault(value: Any) -> str:
        return "" if type(value) is int and least <= value <= most else f"is not an integer from {least} to {most}"

    return fault


def _octets(length: int) -> Callable[[Any], str]:
    def fault(value: Any) -> str:
        return "" if type(value) is bytes and len(value) == length else f"is not {length} bytes"

    return fault


def _ttl_fault(value: Any) -> str:
    good = type(value) is float and math.isfinite(value) and 0.0 < value <= MAX_TTL_S
    return "" if good else f"is not a number of seconds above 0 and up to {MAX_TTL_S:.0f}"


def _sender_fault(value: Any) -> str:
    return "" if type(value) is str and _SENDER.fullmatch(value) else "is not <role>/<instance>"


def _tag_fault(value: Any) -> str:
    return "" if type(value) is str and value in _TAGS else f"is not one of {', '.join(sorted(_TAGS))}"


def _payload_fault(value: Any) -> str:
    return "" if type(value) is bytes else "is not bytes"


_CHECKS: Final[dict[str, Callable[[Any], str]]] = {
    "v": _integer(VERSION, VERSION),
    "type": _text(_MAX_NAME),
    "channel": _text(_MAX_NAME),
    "sender": _sender_fault,
    "key_version": _integer(1, _MAX_KEY_VERSION),
    "seq": _integer(0),
    "ts": _integer(0),
    "ttl_s": _ttl_fault,
    "nonce": _octets(NONCE_BYTES),
    "cause": _integer(0),
    "tag": _tag_fault,
    "payload": _payload_fault,
    "hmac": _octets(MAC_BYTES),
}


def wall_clock_us() -> int:
    """Return this host's time, microseconds since the epoch."""
    return time.time_ns() // 1_000


def fresh_nonce() -> bytes:
    """Return NONCE_BYTES unpredictable bytes."""
    return secrets.token_bytes(NONCE_BYTES)


class Signer:
    """Seals the messages of one instance of one role with its channel keys."""

    def __init__(
        self,
        role: Role,
        instance: str,
        keyring: Keyring,
        *,
        clock: Callable[[], int] = wall_clock_us,
        nonces: Callable[[], bytes] = fresh_nonce,
    ) -> None:
        """
        Args:
            clock: returns now, microseconds since the epoch.
            nonces: returns NONCE_BYTES bytes, never the same twice.

        Raises:
            ValueError: role and instance do not make a sender's name.
        """
        self.role: Role = role
        self.sender = f"{role}/{instance}"
        if not _SENDER.fullmatch(self.sender):
            raise ValueError(f"{self.sender!r} is not <role>/<instance>")
        self._keyring = keyring
        self._clock = clock
        self._nonces = nonces
        self._count = 0

    def seal(
        self,
        message: Contract,
        *,
        subject: str | None = None,
        cause: int = 0,
        tag: DecisionTag = "DETERMINISTIC",
        ttl_s: float = DEFAULT_TTL_S,
    ) -> bytes:
        """Return the signed frame of a message, under the current key version.

        Args:
            subject: where it will stand; `message.subject()` unless given. Decides the channel.
            cause: journal sequence that led to it.
            ttl_s: seconds for which it may be acted on, up to MAX_TTL_S.

        Raises:
            WrongChannelError: this role may not speak there, or its key file lacks the channel.
            TooLargeError: the frame would be longer than MAX_FRAME.
            ValueError: `ttl_s` is out of range.
        """
        if fault := _ttl_fault(float(ttl_s)):
            raise ValueError(f"ttl_s {fault}: {ttl_s!r}")
        where = subject or message.subject()
        channel = channel_of(where, self.role)
        if channel is None:
            raise WrongChannelError(f"{self.sender} may not speak on {where}")
        version = self._keyring.current
        key = self._keyring.key(channel, version)
        self._count += 1
        unsigned = Envelope(
            v=VERSION,
            type=message.TYPE,
            channel=channel,
            sender=self.sender,
            key_version=version,
            seq=self._count,
            ts=self._clock(),
            ttl_s=float(ttl_s),
            nonce=self._nonces(),
            cause=cause,
            tag=tag,
            payload=message.encode(),
            hmac=bytes(MAC_BYTES),
        )
        frame = unsigned._replace(hmac=unsigned.mac(key)).to_frame()
        if len(frame) > MAX_FRAME:
            raise TooLargeError(f"{message.TYPE} for {where} makes {len(frame)} bytes; at most {MAX_FRAME} are allowed")
        return frame

    def use(self, keyring: Keyring) -> None:
        """Sign with another keyring from now on (after `control.rotate`)."""
        self._keyring = keyring
