"""A recording's manifest: what it holds, by part, each with its hash; and the operator's signature over that.

| part | holds |
|---|---|
| `journal` | incidents, plans, tasks, claims, results, deviations, verdicts, timers: everything not named below |
| `telemetry` | one record a device and second |
| `prompts` | what a model was asked, whole |
| `responses` | what it answered, or that it did not |

The manifest says nothing that the events do not say: it is computed anew from them and must be the same bytes. What it
adds is one thing to sign, and an answer to "which part is not what it was". The signature is Ed25519, by a key that is
in the operator's key file alone, so that who may read a recording cannot write one in the operator's name
(docs/adr/0022).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, StringConstraints

from broker.contracts.base import Frozen
from broker.errors import SchemaError
from broker.keyring import Keyring
from broker.port import Stored

Part = Literal["journal", "telemetry", "prompts", "responses"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_DOMAIN: Final = b"agentic-triage/recording/2\n"
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64


class PartSum(Frozen):
    """How much of a part there is, and its hash."""

    events: Annotated[int, Field(ge=0)]
    sha256: Sha256
    """Over the exact envelopes in their order, each after its length (4 bytes, big-endian)."""


class MachineSum(Frozen):
    """A machine as it was when recording began."""

    name: str
    version: int
    config: Sha256
    snapshot: Sha256


class Manifest(Frozen):
    """What a recording holds."""

    format: str
    version: int
    header: Sha256
    machines: tuple[MachineSum, ...]
    parts: dict[Part, PartSum]
    chain: Sha256
    """Last value of the chain over all events."""
    injected_at: float | None
    """When the first fault was in the world, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A manifest's bytes as they stand in the file, and who signed them."""

    manifest: bytes
    public_key: bytes | None
    """Ed25519, 32 bytes; None: nobody signed."""
    signature: bytes | None

    @property
    def signer(self) -> str | None:
        """Return the signing key as it is written for people and in `--signed-by`: hex."""
        return None if self.public_key is None else self.public_key.hex()

    def is_signed(self) -> bool:
        """Tell whether the signature is that key's over these bytes; False too if there is none."""
        if self.public_key is None or self.signature is None:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(self.signature, _DOMAIN + self.manifest)
        except (InvalidSignature, ValueError):
            return False
        return True

    def packed(self) -> dict[str, bytes | None]:
        """Return it as it stands in a recording."""
        return {"manifest": self.manifest, "public_key": self.public_key, "signature": self.signature}


class Tally:
    """Counts and hashes events by part as they pass."""

    def __init__(self) -> None:
        self._counts: dict[Part, int] = dict.fromkeys(PARTS, 0)
        self._digests = {part: hashlib.sha256() for part in PARTS}

    def add(self, stored: Stored) -> None:
        """Count one event."""
        part = part_of(stored.subject)
        self._counts[part] += 1
        self._digests[part].update(len(stored.data).to_bytes(4, "big") + stored.data)

    def sums(self) -> dict[Part, PartSum]:
        """Return what has passed so far."""
        return {
            part: PartSum(events=self._counts[part], sha256=digest.hexdigest())
            for part, digest in self._digests.items()
        }


def part_of(subject: str) -> Part:
    """Return the part that a message belongs to, by the subject it stands on."""
    if subject.startswith("triage.telemetry."):
        return "telemetry"
    if subject.startswith("triage.plan."):
        if subject.endswith(".prompted"):
            return "prompts"
        if subject.endswith(".answered"):
            return "responses"
    return "journal"


def sealed(manifest: Manifest, keyring: Keyring | None) -> Seal:
    """Return a manifest's seal: signed if the keys can, and else saying that nobody signed."""
    data = manifest.encode()
    public = None if keyring is None else keyring.recording_public
    if keyring is None or public is None:
        return Seal(data, None, None)
    return Seal(data, public, keyring.sign_recording(_DOMAIN + data))


def read_seal(raw: object) -> Seal | None:
    """Return the seal that stands in a recording; None if it is none."""
    if not isinstance(raw, dict) or set(raw) != {"manifest", "public_key", "signature"}:
        return None
    manifest, public, signature = raw["manifest"], raw["public_key"], raw["signature"]
    unsigned = public is None and signature is None
    if not isinstance(manifest, bytes) or not (
        unsigned or (_is(public, _KEY_BYTES) and _is(signature, _SIGNATURE_BYTES))
    ):
        return None
    return Seal(manifest, public, signature)


def mismatch(seal: Seal, computed: Manifest) -> str | None:
    """Return in a few words where a manifest is not that of the events beside it, or None if it is."""
    if seal.manifest == computed.encode():
        return None
    try:
        said = Manifest.decode(seal.manifest)
    except SchemaError:
        return "it cannot be read"
    for part in PARTS:
        claimed, found = said.parts.get(part), computed.parts[part]
        if claimed is None or claimed.events != found.events:
            return (
                f"it names {0 if claimed is None else claimed.events} events of {part}, the file holds {found.events}"
            )
        if claimed.sha256 != found.sha256:
            return f"its hash of {part} is another"
    names = [name for name in Manifest.model_fields if getattr(said, name) != getattr(computed, name)]
    return f"its {names[0]} is another" if names else "its bytes are not the canonical ones"


def _is(value: Any, length: int) -> bool:
    return isinstance(value, bytes) and len(value) == length
