"""What whoever holds one role's secrets can try: its broker user with a client of our own making, its channel keys.

Also a program: `python attack.py URL ROLE KEYS_FILE PASSPHRASE_FILE MARK` prints what came of it as JSON. It is piped
into a container as it stands here, so it needs nothing but the standard library and `broker`.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from broker.envelope import MAC_BYTES, VERSION, Envelope, fresh_nonce
from broker.keyring import Keyring, load
from broker.subjects import RULES, WORK_QUEUES, Role, Rule, inbox_prefix

ANSWER_S = 1.0
OWN_PLACE = "put on our own subject"
LISTENED = (
    ">",
    "triage.>",
    "triage.task.>",
    "triage.task.log.>",
    "triage.telemetry.>",
    "_INBOX_scheduler.>",
    "_INBOX.>",
    "$JS.>",
    "$SYS.>",
    "$KV.>",
    "sysev.>",
    "cancel.>",
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One thing tried. `outcome`: refused (by the broker's permissions), error (the broker understood and declined),
    done (it was stored or answered), silent (allowed, and nothing came of it)."""

    what: str
    subject: str
    outcome: str
    said: str = ""
    target: str = ""
    """Where in the journal it was meant to stand, if not on `subject`."""


class RawClient:
    """The NATS protocol on a plain socket: no library between the attacker and the server."""

    def __init__(self, url: str, user: str, password: str) -> None:
        place = urlsplit(url)
        self._socket = socket.create_connection((place.hostname or "127.0.0.1", place.port or 4222), timeout=5.0)
        self._file = self._socket.makefile("rb")
        self._line()
        self._inbox = f"{inbox_prefix(user)}.raw"
        self.heard: list[tuple[str, bytes]] = []
        """What came on subscriptions: (subject, data)."""
        wanted = {"user": user, "pass": password, "verbose": False, "headers": True, "no_responders": True}
        self._send(b"CONNECT " + json.dumps({**wanted, "protocol": 1, "lang": "raw", "version": "0"}).encode())
        self._count = 0
        try:
            error = self._sync() or self.subscribe(f"{self._inbox}.>", "0")
        except OSError:
            self.close()
            raise
        if error:
            self.close()
            raise ConnectionError(error)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def publish(self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> str:
        """Publish; return the server's complaint or an empty text."""
        target = f"{subject} {reply}".strip()
        if headers is None:
            self._send(f"PUB {target} {len(data)}".encode() + b"\r\n" + data)
        else:
            head = b"NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()).encode() + b"\r\n"
            self._send(f"HPUB {target} {len(head)} {len(head) + len(data)}".encode() + b"\r\n" + head + data)
        return self._sync()

    def subscribe(self, subject: str, number: str) -> str:
        """Subscribe; return the server's complaint or an empty text."""
        self._send(f"SUB {subject} {number}".encode())
        return self._sync()

    def request(self, subject: str, data: bytes = b"", headers: Mapping[str, str] | None = None) -> tuple[str, bytes]:
        """Return (complaint, answer); both are empty if nothing came in time."""
        self._count += 1
        reply = f"{self._inbox}.{self._count}"
        if error := self.publish(subject, data, reply, headers):
            return error, b""
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            for heard, body in self.heard:
                if heard == reply:
                    return "", body or b"(empty)"
            self._sync()
            time.sleep(0.01)
        return "", b""

    def _send(self, line: bytes) -> None:
        self._socket.sendall(line + b"\r\n")

    def _sync(self) -> str:
        """Wait until the server has handled everything so far; return its complaint about it."""
        self._send(b"PING")
        complaint = ""
        while (line := self._line()) != b"PONG":
            if line.startswith(b"-ERR"):
                complaint = line.decode()
            elif line.startswith((b"MSG ", b"HMSG ")):
                parts = line.split()
                self.heard.append((parts[1].decode(), self._file.read(int(parts[-1]) + 2)[:-2]))
            elif line == b"PING":
                self._socket.sendall(b"PONG\r\n")
        return complaint

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line:
            raise ConnectionError("the server hung up")
        return line.strip()


def attack(url: str, role: Role, ring: Keyring, mark: str) -> list[Attempt]:
    """Try everything; return what came of it.

    Args:
        ring: the role's own keyring, and nothing more.
        mark: a token that makes the subjects of this attack its own.
    """
    client = RawClient(url, role, ring.broker_password())
    try:
        return [
            *_speak(client, role, ring, mark),
            *_listen(client),
            *_call(client, mark),
            *_have_answers_put(client, role, ring, mark),
        ]
    finally:
        client.close()


def subject_of(rule: Rule, mark: str) -> str:
    """Return a subject of a rule's pattern; each of its tokens carries the mark."""
    return ".".join(mark if part == "*" else part for part in rule.pattern.split("."))


def forged(rule: Rule, ring: Keyring, sender: str, payload: bytes = b"{}") -> bytes:
    """Return the best forgery of a rule's message that a keyring allows: under the channel's own key if it holds that,
    else under one that it holds."""
    key_channel = rule.channel if rule.channel in ring.keys else next(iter(ring.keys))
    unsigned = Envelope(
        v=VERSION,
        type=rule.type,
        channel=rule.channel,
        sender=sender,
        key_version=ring.current,
        seq=1,
        ts=time.time_ns() // 1_000,
        ttl_s=120.0,
        nonce=fresh_nonce(),
        cause=0,
        tag="DETERMINISTIC",
        payload=payload,
        hmac=bytes(MAC_BYTES),
    )
    return unsigned._replace(hmac=unsigned.mac(ring.key(key_channel, ring.current))).to_frame()


def _speak(client: RawClient, role: Role, ring: Keyring, mark: str) -> Iterator[Attempt]:
    """Say everybody's messages, under their names where we are not them."""
    for rule in RULES:
        senders = sorted(rule.senders - {role}) or sorted(rule.senders)
        subject = subject_of(rule, mark)
        frame = forged(rule, ring, f"{senders[0]}/{senders[0]}-1")
        yield _attempt(client, f"publish {rule.type} as {senders[0]}", subject, frame)
    own = next((rule for rule in RULES if rule.senders == {role}), None)
    for rule in RULES if own else ():
        sender = min(rule.senders)
        if own and (rule.type, sender) != (own.type, role):
            frame = forged(rule, ring, f"{sender}/{sender}-1")
            yield _attempt(client, f"{OWN_PLACE} {rule.type} as {sender}", subject_of(own, mark), frame)
    for other in ("monitor", "planner", "scheduler"):
        yield _attempt(client, f"overwrite the snapshot of the {other}", f"$KV.SNAPSHOTS.{other}.{mark}", b"state")


def _listen(client: RawClient) -> Iterator[Attempt]:
    for number, subject in enumerate(LISTENED, 1):
        error = client.subscribe(subject, str(number))
        yield Attempt("listen", subject, "refused" if error else "done", error)


def _call(client: RawClient, mark: str) -> Iterator[Attempt]:
    """Use the broker's own interface on what is not ours."""
    for what, subject, body in _calls(mark):
        yield _attempt(client, what, subject, json.dumps(body).encode() if body else b"")


def _calls(mark: str) -> Iterator[tuple[str, str, dict[str, object] | None]]:
    api = "$JS.API"
    for queue in WORK_QUEUES:
        durable = queue.durable
        yield f"pull {durable}", f"{api}.CONSUMER.MSG.NEXT.TRIAGE.{durable}", {"batch": 1, "no_wait": True}
        yield f"acknowledge {durable}", f"$JS.ACK.TRIAGE.{durable}.1.1.1.1.1", None
        yield f"look at {durable}", f"{api}.CONSUMER.INFO.TRIAGE.{durable}", None
        yield f"delete {durable}", f"{api}.CONSUMER.DELETE.TRIAGE.{durable}", None
        yield f"pause {durable}", f"{api}.CONSUMER.PAUSE.TRIAGE.{durable}", {"pause_until": "2100-01-01T00:00:00Z"}
        config: dict[str, object] = {"durable_name": durable, "ack_policy": "explicit", "filter_subject": "triage.>"}
        body: dict[str, object] = {"stream_name": "TRIAGE", "config": config}
        yield f"change {durable}", f"{api}.CONSUMER.CREATE.TRIAGE.{durable}.triage.>", body
        yield f"change {durable} (old way)", f"{api}.CONSUMER.DURABLE.CREATE.TRIAGE.{durable}", body
    for stream in ("TRIAGE", "TIMERS", "KV_SNAPSHOTS", "SYSEV", "ADV"):
        for verb in ("INFO", "PURGE", "DELETE", "UPDATE", "CREATE", "SNAPSHOT", "RESTORE"):
            yield f"{verb.lower()} of {stream}", f"{api}.STREAM.{verb}.{stream}", {"name": stream}
        yield f"read of {stream}", f"{api}.STREAM.MSG.GET.{stream}", {"seq": 1}
        yield f"delete in {stream}", f"{api}.STREAM.MSG.DELETE.{stream}", {"seq": 1}
        yield f"direct read of {stream}", f"{api}.DIRECT.GET.{stream}", {"seq": 1}
        reading = {"name": mark, "ack_policy": "none", "mem_storage": True}
        yield f"new reader of {stream}", f"{api}.CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": reading}
    for subject in ("plan.x.v1.a1.requested", "task.action.x.t1.a1", "telemetry.orders", "approval.x.t1.requested"):
        filtered = {"name": mark, "ack_policy": "none", "mem_storage": True, "filter_subject": f"triage.{subject}"}
        body = {"stream_name": "TRIAGE", "config": filtered}
        yield "read by a filter", f"{api}.CONSUMER.CREATE.TRIAGE.{mark}.triage.{subject}", body
        yield "look up", f"{api}.DIRECT.GET.TRIAGE.triage.{subject}", None
    wider = {"name": mark, "ack_policy": "none", "mem_storage": True, "filter_subject": "triage.>"}
    body = {"stream_name": "TRIAGE", "config": wider}
    yield "a wider filter in the body", f"{api}.CONSUMER.CREATE.TRIAGE.{mark}.triage.control.>", body
    pushed = {**wider, "filter_subject": "triage.control.>", "deliver_subject": f"triage.task.action.{mark}.t.a1"}
    body = {"stream_name": "TRIAGE", "config": pushed}
    yield "push into a queue", f"{api}.CONSUMER.CREATE.TRIAGE.{mark}.triage.control.>", body
    for subject in ("INFO", "STREAM.NAMES", "STREAM.LIST", "CONSUMER.NAMES.TRIAGE", "CONSUMER.LIST.TRIAGE"):
        yield "look around", f"{api}.{subject}", None
    for subject in ("$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.APP.CONNZ", "$SYS.REQ.SERVER.PING.KICK"):
        yield "look at the server", subject, None


def _have_answers_put(client: RawClient, role: Role, ring: Keyring, mark: str) -> Iterator[Attempt]:
    """Ask for something allowed and name a journal subject for the answer: no permission covers replies."""
    own = next((rule for rule in RULES if rule.type == "result" and role in rule.senders), None)
    if own is None:
        return
    carrier = subject_of(own, f"{mark}c")
    look_up = f"$JS.API.DIRECT.GET.TRIAGE.{carrier}"
    foreign = next(rule for rule in RULES if rule.type == "task" and rule.channel != f"task-{role}")
    mine = next(rule for rule in RULES if rule.channel == f"task-{role}")
    pull = f"$JS.API.CONSUMER.MSG.NEXT.TRIAGE.w-{role}"
    for what, rule, asked, data in (
        ("acknowledgement as another's task", foreign, carrier, forged(foreign, ring, "scheduler/scheduler-1")),
        ("stored forgery as another's task", foreign, look_up, b""),
        ("empty pull as another's task", foreign, pull, b'{"batch":1,"no_wait":true}'),
        ("order signed with the key we verify with", mine, carrier, forged(mine, ring, "scheduler/scheduler-1")),
        ("relayed order in our own queue", mine, look_up, b""),
    ):
        target = subject_of(rule, f"{mark}-{what.split()[0]}")
        error = client.publish(asked, data, reply=target)
        yield Attempt(f"have {what}", asked, "refused" if error else "silent", error, target)


def _attempt(client: RawClient, what: str, subject: str, data: bytes) -> Attempt:
    error, answer = client.request(subject, data)
    if error:
        return Attempt(what, subject, "refused", error)
    if not answer:
        return Attempt(what, subject, "silent")
    text = answer.decode(errors="replace")
    return Attempt(what, subject, "error" if '"error"' in text or "NATS/1.0 4" in text else "done", text[:300])


def main() -> int:
    """Attack with a role's own files and print the attempts."""
    url, role, keys_file, passphrase_file, mark = sys.argv[1:]
    ring = load(Path(keys_file), Path(passphrase_file).read_text().strip())
    attempts = attack(url, role, ring, mark)  # type: ignore[arg-type]  # a role's name from a command line
    sys.stdout.write(json.dumps([asdict(attempt) for attempt in attempts]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
