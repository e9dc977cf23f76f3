"""Key files: who holds what, rotation, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from broker.envelope import MAX_TTL_S
from broker.errors import KeyringError, UnknownKeyVersionError, WrongChannelError
from broker.keyfile import read_passphrase, read_sealed, write_sealed
from broker.keyring import (
    KEPT_VERSIONS,
    SPARED_S,
    Keyring,
    begin_rotation,
    create_master,
    derive_role_file,
    finish_rotation,
    load,
    rotate,
)
from broker.runtime.keys import Keys
from broker.runtime.metrics import Metrics
from broker.subjects import BROKER_USERS, CHANNELS, ROLES, Role, channels_of
from deploy.embedded.errors import HomeError
from deploy.embedded.layout import layout
from deploy.vault import ensure_passphrase
from harness.doctor import _keys
from harness.site import deployment
from tests.support.signing import master

PASSPHRASE = "correct horse"
HOUR_US = 3_600 * 1_000_000


@pytest.fixture
def master_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "master.keys"
    create_master(path, PASSPHRASE)
    return path


class TestMaster:
    def test_what_was_created_is_loaded(self, tmp_path: Path) -> None:
        created = create_master(tmp_path / "m.keys", PASSPHRASE)
        assert load(tmp_path / "m.keys", PASSPHRASE) == created
        assert (created.owner, created.current, created.versions) == ("master", 1, (1,))
        assert set(created.channels) == set(CHANNELS)

    def test_every_channel_user_and_purpose_has_a_secret_of_its_own(self, master_file: Path) -> None:
        ring = load(master_file, PASSPHRASE)
        secrets = [ring.key(channel, 1).hex() for channel in CHANNELS]
        secrets += [ring.broker_password(user) for user in BROKER_USERS]
        assert ring.checkpoint_seed is not None
        secrets.append(ring.checkpoint_seed.hex())
        assert len(set(secrets)) == len(CHANNELS) + len(BROKER_USERS) + 1

    def test_two_masters_share_nothing(self, tmp_path: Path) -> None:
        one, other = (create_master(tmp_path / name, PASSPHRASE) for name in ("a", "b"))
        assert one.key("control", 1) != other.key("control", 1)
        assert one.broker_password("log") != other.broker_password("log")

    def test_an_existing_file_is_never_overwritten(self, master_file: Path) -> None:
        before = master_file.read_bytes()
        with pytest.raises(KeyringError, match="exists already"):
            create_master(master_file, PASSPHRASE)
        assert master_file.read_bytes() == before
        assert [path.name for path in master_file.parent.iterdir()] == ["master.keys"]

    def test_only_the_owner_may_read_it(self, master_file: Path) -> None:
        assert stat.S_IMODE(master_file.stat().st_mode) == 0o600

    def test_nothing_secret_shows(self, master_file: Path) -> None:
        ring = load(master_file, PASSPHRASE)
        shown = repr(ring) + master_file.read_text()
        assert ring.key("control", 1).hex() not in shown
        assert ring.broker_password("admin") not in shown


class TestRecordings:
    def test_only_the_operators_file_signs_recordings(self, master_file: Path) -> None:
        ring = load(master_file, PASSPHRASE)
        assert ring.recording_public is not None
        for role in ROLES:
            held = ring.restricted_to(role).recording_public
            assert held == (ring.recording_public if role == "operator" else None)

    def test_the_key_outlives_rotations_and_is_not_the_checkpoints(self, master_file: Path) -> None:
        before = load(master_file, PASSPHRASE)
        assert rotate(master_file, PASSPHRASE).recording_public == before.recording_public
        assert before.recording_public != before.checkpoint_public

    def test_who_has_no_key_signs_nothing(self, master_file: Path) -> None:
        with pytest.raises(KeyringError, match="the keys of monitor hold no key for recordings"):
            load(master_file, PASSPHRASE).restricted_to("monitor").sign_recording(b"manifest")

    def test_a_file_of_before_recordings_were_signed_opens_without_the_key(
        self, master_file: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "operator.keys"
        ring = derive_role_file(load(master_file, PASSPHRASE), "operator", path, PASSPHRASE)
        owner, content = read_sealed(path, PASSPHRASE)
        del content["recording_seed"]
        write_sealed(path, owner, content, PASSPHRASE, replace=True)
        opened = load(path, PASSPHRASE)
        assert opened.recording_public is None
        assert opened == replace(ring, recording_seed=None)


class TestRotation:
    def test_a_new_version_signs_and_the_old_one_still_verifies(self, master_file: Path) -> None:
        old = load(master_file, PASSPHRASE)
        new = rotate(master_file, PASSPHRASE)
        assert new == load(master_file, PASSPHRASE)
        assert (new.current, new.versions) == (2, (1, 2))
        assert new.key("control", 1) == old.key("control", 1) != new.key("control", 2)

    def test_broker_passwords_and_the_checkpoint_key_stay(self, master_file: Path) -> None:
        old = load(master_file, PASSPHRASE)
        new = rotate(master_file, PASSPHRASE)
        assert new.broker_password("log") == old.broker_password("log")
        assert new.checkpoint_public == old.checkpoint_public

    def test_only_the_last_versions_are_kept(self, master_file: Path) -> None:
        for _ in range(3):
            ring = rotate(master_file, PASSPHRASE, force=True)
        assert ring.versions == (2, 3, 4)
        assert len(ring.versions) == KEPT_VERSIONS
        with pytest.raises(UnknownKeyVersionError, match=r"version 1 of channel control is not among those held \(2,"):
            ring.key("control", 1)

    def test_a_wrong_passphrase_changes_nothing(self, master_file: Path) -> None:
        before = master_file.read_bytes()
        with pytest.raises(KeyringError, match="wrong passphrase"):
            rotate(master_file, "wrong")
        assert master_file.read_bytes() == before

    def test_a_rotation_that_was_begun_signs_with_the_old_version_still(self, master_file: Path) -> None:
        begun = begin_rotation(master_file, PASSPHRASE)
        assert (begun.current, begun.versions) == (1, (1, 2))
        assert load(master_file, PASSPHRASE) == begun
        done = finish_rotation(master_file, PASSPHRASE)
        assert (done.current, done.versions) == (2, (1, 2))
        assert done.keys == begun.keys

    def test_a_rotation_that_was_cut_off_is_gone_on_with(self, master_file: Path) -> None:
        begun = begin_rotation(master_file, PASSPHRASE)
        assert begin_rotation(master_file, PASSPHRASE) == begun, "no second new version"
        done = finish_rotation(master_file, PASSPHRASE)
        assert finish_rotation(master_file, PASSPHRASE) == done, "nothing was begun: nothing happens"

    def test_the_oldest_version_is_dropped_when_the_rotation_is_finished(self, master_file: Path) -> None:
        for _ in range(2):
            rotate(master_file, PASSPHRASE)
        assert begin_rotation(master_file, PASSPHRASE, force=True).versions == (1, 2, 3, 4)
        assert finish_rotation(master_file, PASSPHRASE).versions == (2, 3, 4)

    def test_a_version_is_spared_while_a_message_signed_with_it_may_be_due(self, tmp_path: Path) -> None:
        path = tmp_path / "m.keys"
        create_master(path, PASSPHRASE)
        rotate(path, PASSPHRASE, now_us=HOUR_US)  # version 1 was used until now
        rotate(path, PASSPHRASE, now_us=20 * HOUR_US)
        before = path.read_bytes()
        with pytest.raises(KeyringError, match=r"version 1 cannot be dropped yet: .* another 0\.5 h .* --force"):
            rotate(path, PASSPHRASE, now_us=24 * HOUR_US + HOUR_US // 2)
        assert path.read_bytes() == before
        assert rotate(path, PASSPHRASE, now_us=25 * HOUR_US).versions == (2, 3, 4)
        with pytest.raises(KeyringError, match="version 2 cannot be dropped yet"):
            rotate(path, PASSPHRASE, now_us=43 * HOUR_US)
        assert rotate(path, PASSPHRASE, now_us=43 * HOUR_US, force=True).versions == (3, 4, 5)

    def test_nothing_is_due_longer_than_a_version_is_spared(self) -> None:
        assert SPARED_S >= MAX_TTL_S

    def test_versions_of_unknown_age_are_taken_to_be_as_young_as_the_file(self, master_file: Path) -> None:
        for _ in range(2):
            rotate(master_file, PASSPHRASE)
        owner, content = read_sealed(master_file, PASSPHRASE)
        del content["since"]
        write_sealed(master_file, owner, content, PASSPHRASE, replace=True)
        written_us = master_file.stat().st_mtime_ns // 1_000
        with pytest.raises(KeyringError, match="cannot be dropped yet"):
            begin_rotation(master_file, PASSPHRASE, now_us=written_us + 23 * HOUR_US)
        assert rotate(master_file, PASSPHRASE, now_us=written_us + 25 * HOUR_US).versions == (2, 3, 4)

    def test_a_role_file_cannot_be_rotated(self, tmp_path: Path) -> None:
        derive_role_file(master(), "log", tmp_path / "log.keys", PASSPHRASE)
        with pytest.raises(KeyringError, match="only the master"):
            rotate(tmp_path / "log.keys", PASSPHRASE)


class TestRoleFiles:
    @pytest.mark.parametrize("role", ROLES)
    def test_a_role_holds_exactly_its_channels_and_its_own_password(self, role: Role) -> None:
        ring = master().restricted_to(role)
        assert set(ring.channels) == set(channels_of(role))
        assert ring.broker_password() == master().broker_password(role)
        assert set(ring.passwords) == {role}
        assert (ring.checkpoint_seed is not None) == (role == "auditor")

    def test_a_role_file_is_loaded_as_it_was_derived(self, master_file: Path, tmp_path: Path) -> None:
        whole = load(master_file, PASSPHRASE)
        for role in ("auditor", "action"):
            path = tmp_path / f"{role}.keys"
            derived = derive_role_file(whole, role, path, "its own passphrase")
            assert load(path, "its own passphrase") == derived == whole.restricted_to(role)

    def test_an_agent_has_no_key_of_another_kind_nor_of_control(self) -> None:
        ring = master().restricted_to("log")
        for channel in ("control", "agent-action", "task-action", "operator", "sensor", "audit"):
            with pytest.raises(WrongChannelError, match=f"hold no channel '{channel}'"):
                ring.key(channel, 1)
        with pytest.raises(KeyringError, match="no broker password of scheduler"):
            ring.broker_password("scheduler")

    def test_it_is_replaced_after_a_rotation(self, master_file: Path, tmp_path: Path) -> None:
        path = tmp_path / "log.keys"
        derive_role_file(load(master_file, PASSPHRASE), "log", path, PASSPHRASE)
        derive_role_file(rotate(master_file, PASSPHRASE), "log", path, PASSPHRASE)
        assert load(path, PASSPHRASE).current == 2

    def test_no_role_file_comes_out_of_a_role_file(self, tmp_path: Path) -> None:
        with pytest.raises(KeyringError, match="derived from the master"):
            derive_role_file(master().restricted_to("log"), "log", tmp_path / "x", PASSPHRASE)


class TestCheckpoints:
    def test_the_auditor_signs_and_readers_verify(self, master_file: Path) -> None:
        whole = load(master_file, PASSPHRASE)
        signature = whole.restricted_to("auditor").sign_checkpoint(b"head")
        for role in ("reader", "operator", "auditor"):
            ring = whole.restricted_to(role)
            assert ring.verify_checkpoint(signature, b"head")
            assert not ring.verify_checkpoint(signature, b"other head")
            assert not ring.verify_checkpoint(b"not a signature", b"head")

    def test_nobody_else_signs(self, master_file: Path) -> None:
        ring = load(master_file, PASSPHRASE).restricted_to("reader")
        with pytest.raises(KeyringError, match="only the auditor's"):
            ring.sign_checkpoint(b"head")
        with pytest.raises(KeyringError, match="no public key"):
            load(master_file, PASSPHRASE).restricted_to("log").verify_checkpoint(b"", b"")


class TestBadFiles:
    def test_a_missing_file_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(KeyringError, match=r"none\.keys is missing; create the keys"):
            load(tmp_path / "none.keys", PASSPHRASE)

    @pytest.mark.parametrize("passphrase", ["wrong", "correct horse ", "Correct horse"])
    def test_a_wrong_passphrase_is_said(self, master_file: Path, passphrase: str) -> None:
        with pytest.raises(KeyringError, match="wrong passphrase or damaged file"):
            load(master_file, passphrase)

    def test_an_empty_passphrase_is_refused(self, master_file: Path) -> None:
        with pytest.raises(KeyringError, match="is empty"):
            load(master_file, "")

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
    def test_a_file_that_others_may_read_is_refused(self, master_file: Path, mode: int) -> None:
        master_file.chmod(mode)
        with pytest.raises(KeyringError, match="may be read by others"):
            load(master_file, PASSPHRASE)

    @pytest.mark.parametrize(
        "content",
        [b"", b"{}", b"not json", b"\xff\xfe", b"[]", b"null", b"[" * 50_000, b'{"format":1}', b"x" * (1 << 20) + b"x"],
    )
    def test_garbage_is_called_damaged(self, master_file: Path, content: bytes) -> None:
        master_file.write_bytes(content)
        with pytest.raises(KeyringError, match="is damaged"):
            load(master_file, PASSPHRASE)

    @pytest.mark.parametrize("name", ["owner", "salt", "nonce", "sealed"])
    def test_each_changed_part_is_found_out(self, master_file: Path, name: str) -> None:
        document = json.loads(master_file.read_text())
        value = document[name]
        document[name] = "log" if name == "owner" else ("A" if value[0] != "A" else "B") + value[1:]
        master_file.write_text(json.dumps(document))
        with pytest.raises(KeyringError, match="wrong passphrase or damaged file"):
            load(master_file, PASSPHRASE)

    @pytest.mark.parametrize(
        ("name", "value"), [("salt", ""), ("nonce", "00"), ("salt", 5), ("sealed", "%%"), ("owner", 1)]
    )
    def test_a_part_of_the_wrong_shape_is_called_damaged(self, master_file: Path, name: str, value: object) -> None:
        document = {**json.loads(master_file.read_text()), name: value}
        master_file.write_text(json.dumps(document))
        with pytest.raises(KeyringError, match="is damaged"):
            load(master_file, PASSPHRASE)

    def test_a_later_format_is_named(self, master_file: Path) -> None:
        document = {**json.loads(master_file.read_text()), "format": "agentic-triage-keys/9"}
        master_file.write_text(json.dumps(document))
        with pytest.raises(KeyringError, match="has the format 'agentic-triage-keys/9'"):
            load(master_file, PASSPHRASE)

    def test_a_truncated_file_is_called_damaged(self, master_file: Path) -> None:
        master_file.write_bytes(master_file.read_bytes()[:-100])
        with pytest.raises(KeyringError, match="damaged"):
            load(master_file, PASSPHRASE)

    def test_a_directory_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(KeyringError, match="cannot be read"):
            load(tmp_path, PASSPHRASE)

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(KeyringError, match="cannot be written"):
            create_master(tmp_path / "file" / "m.keys", PASSPHRASE)


class TestPassphraseFiles:
    """`up`, the roles, the CLI and `doctor` read it the same way: the first line, without white space around it."""

    @pytest.mark.parametrize(
        "content",
        [
            "correct horse",
            "correct horse\n",
            "correct horse \n",
            " correct horse\r\n",
            "correct horse\nchosen in May\n",
        ],
    )
    def test_everybody_reads_the_same(self, content: str, tmp_path: Path) -> None:
        place = layout(tmp_path)
        place.passphrase.write_bytes(content.encode())
        assert ensure_passphrase(place.passphrase) == PASSPHRASE
        assert read_passphrase(place.passphrase) == PASSPHRASE
        assert deployment(tmp_path).keys().passphrase() == PASSPHRASE
        derive_role_file(
            create_master(place.master_keys, PASSPHRASE), "operator", place.role_keys("operator"), PASSPHRASE
        )
        keys = Keys(place.role_keys("operator"), place.passphrase, "operator", "operator-1", Metrics())
        assert keys.keyring.owner == "operator"
        assert _keys(deployment(tmp_path)).ok

    @pytest.mark.parametrize("content", ["", "\n", " \nsecond line"])
    def test_nobody_takes_an_empty_one(self, content: str, tmp_path: Path) -> None:
        place = layout(tmp_path)
        place.passphrase.write_text(content)
        with pytest.raises(HomeError, match="is empty"):
            ensure_passphrase(place.passphrase)
        with pytest.raises(KeyringError, match="is empty"):
            read_passphrase(place.passphrase)
        with pytest.raises(KeyringError, match="is empty"):
            deployment(tmp_path).keys().passphrase()
        assert "is empty" in _keys(deployment(tmp_path)).detail


def test_rings_compare_by_what_they_hold() -> None:
    ring: Keyring = master()
    assert ring != replace(ring, current=2)
