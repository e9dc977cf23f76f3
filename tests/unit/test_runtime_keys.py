"""The keys of a process: opened once, read again when the file changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker.contracts.control import Halt
from broker.envelope import open_frame
from broker.errors import KeyringError, UnknownKeyVersionError
from broker.keyfile import read_passphrase
from broker.keyring import create_master, derive_role_file, rotate
from broker.port import Stored
from broker.runtime.keys import Keys
from broker.runtime.metrics import Metrics

PASSPHRASE = "correct horse"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    master = create_master(tmp_path / "master.keys", PASSPHRASE)
    for role in ("operator", "scheduler"):
        derive_role_file(master, role, tmp_path / f"{role}.keys", PASSPHRASE)
    return tmp_path


def rotate_all(home: Path) -> None:
    master = rotate(home / "master.keys", PASSPHRASE)
    for role in ("operator", "scheduler"):
        derive_role_file(master, role, home / f"{role}.keys", PASSPHRASE)


def keys(home: Path, role: str = "operator", metrics: Metrics | None = None) -> Keys:
    return Keys(
        home / f"{role}.keys",
        home / "passphrase",
        "operator" if role == "operator" else "scheduler",
        f"{role}-1",
        metrics or Metrics(),
    )


def test_a_rotation_reaches_signer_and_gate_without_a_restart(home: Path) -> None:
    operator, scheduler = keys(home), keys(home, "scheduler")
    gate = scheduler.gate()
    old = operator.signer.seal(Halt(reason="before"))
    rotate_all(home)
    assert operator.refresh()
    assert not operator.refresh(), "nothing changed since"
    new = operator.signer.seal(Halt(reason="after"))
    assert open_frame(new).key_version == 2
    now = open_frame(new).ts
    # Met before the scheduler was told of the rotation: it looks for new keys by itself.
    assert gate.admit(Stored(2, now, "triage.control.halt", new)).message == Halt(reason="after")
    assert gate.admit(Stored(1, now, "triage.control.halt", old)).message == Halt(reason="before")
    assert scheduler.keyring.current == 2


def test_a_version_that_nobody_made_is_refused_and_counted(home: Path) -> None:
    metrics = Metrics()
    operator, scheduler = keys(home), keys(home, "scheduler", metrics)
    gate = scheduler.gate()
    kept = (home / "scheduler.keys").read_bytes()
    rotate_all(home)
    operator.refresh()
    stamp = os.stat(home / "scheduler.keys")
    (home / "scheduler.keys").write_bytes(kept)
    os.utime(home / "scheduler.keys", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    frame = operator.signer.seal(Halt(reason="x"))
    with pytest.raises(UnknownKeyVersionError):
        gate.admit(Stored(1, open_frame(frame).ts, "triage.control.halt", frame))
    refused = metrics.registry.get_sample_value("triage_envelopes_refused_total", {"reason": "unknown_key_version"})
    assert refused == 1


def test_a_half_written_file_leaves_the_keys_as_they_were(home: Path) -> None:
    operator = keys(home)
    (home / "operator.keys").write_text("{")
    assert not operator.refresh()
    assert operator.keyring.current == 1


def test_a_new_version_in_a_file_that_cannot_be_opened_ends_the_role_and_is_not_passed_over(home: Path) -> None:
    metrics = Metrics()
    operator, scheduler = keys(home), keys(home, "scheduler", metrics)
    gate = scheduler.gate()
    rotate_all(home)
    operator.refresh()
    good = (home / "scheduler.keys").read_bytes()
    (home / "scheduler.keys").write_text("{")
    frame = operator.signer.seal(Halt(reason="x"))
    stored = Stored(1, open_frame(frame).ts, "triage.control.halt", frame)
    with pytest.raises(KeyringError, match="damaged"):
        gate.admit(stored)
    assert metrics.registry.get_sample_value("triage_envelopes_refused_total", {"reason": "unknown_key_version"}) == 0
    (home / "scheduler.keys").write_bytes(good)
    assert gate.admit(stored).message == Halt(reason="x"), "it was not passed over: read again, it is let in"


def test_another_roles_file_is_refused(home: Path) -> None:
    with pytest.raises(KeyringError, match="holds the keys of scheduler, not of operator"):
        Keys(home / "scheduler.keys", home / "passphrase", "operator", "operator-1", Metrics())


@pytest.mark.parametrize("content", ["", "\n", None])
def test_a_passphrase_that_is_not_there_is_said(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "passphrase").write_text(content)
    with pytest.raises(KeyringError, match="passphrase file"):
        read_passphrase(tmp_path / "passphrase")
