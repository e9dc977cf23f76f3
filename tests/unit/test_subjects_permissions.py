"""The broker's own walls, as they are generated: least privilege, derived from the same rules as the gate."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from broker.jetstream_setup import consumer_config, stream_configs
from broker.subjects import AGENTS, BROKER_USERS, READERS, ROLES, RULES, WORK_QUEUES, Role, matches
from deploy.nats.config import server_binary, server_config, write_config
from deploy.nats.permissions import permissions_of

PASSWORDS = {user: f"secret-of-{user}" for user in BROKER_USERS}


def may_publish(role: Role, subject: str) -> bool:
    permissions = permissions_of(role)
    allowed = any(matches(pattern, subject) for pattern in permissions.publish)
    return allowed and not any(matches(pattern, subject) for pattern in permissions.publish_denied)


@pytest.mark.parametrize("role", ROLES)
class TestEveryRole:
    def test_publishes_exactly_what_the_gate_would_take_from_it(self, role: Role) -> None:
        for rule in RULES:
            example = rule.pattern.replace("*", "x")
            senders = {sender for other in RULES if other.pattern == rule.pattern for sender in other.senders}
            expected = role in senders and not example.startswith("triage.due.")
            assert may_publish(role, example) is expected, example

    def test_hears_its_own_inbox_only(self, role: Role) -> None:
        assert permissions_of(role).subscribe == (f"_INBOX_{role}.>",)

    def test_cannot_change_or_delete_anything_the_broker_keeps(self, role: Role) -> None:
        for call in (
            "STREAM.CREATE.TRIAGE",
            "STREAM.UPDATE.TRIAGE",
            "STREAM.DELETE.TRIAGE",
            "STREAM.PURGE.TRIAGE",
            "STREAM.MSG.DELETE.TRIAGE",
            "STREAM.MSG.GET.TRIAGE",
            "STREAM.SNAPSHOT.TRIAGE",
            "CONSUMER.DELETE.TRIAGE.w-log",
            "CONSUMER.CREATE.TRIAGE",
            "CONSUMER.DURABLE.CREATE.TRIAGE.w-log",
            "CONSUMER.PAUSE.TRIAGE.w-log",
            "CONSUMER.RESET.TRIAGE.w-log",
            "DIRECT.GET.TRIAGE",
        ):
            assert not may_publish(role, f"$JS.API.{call}"), call
        for queue in WORK_QUEUES:
            for filter_ in ("triage.>", "triage.control.>", queue.filter):
                assert not may_publish(role, f"$JS.API.CONSUMER.CREATE.TRIAGE.{queue.durable}.{filter_}")

    def test_takes_from_its_own_queue_only(self, role: Role) -> None:
        for queue in WORK_QUEUES:
            own = queue.role == role
            assert may_publish(role, f"$JS.API.CONSUMER.MSG.NEXT.TRIAGE.{queue.durable}") is own
            acknowledges = own or role in ("scheduler", "monitor")
            assert may_publish(role, f"$JS.ACK.TRIAGE.{queue.durable}.1.2.3.4.5") is acknowledges

    def test_reads_the_journal_only_as_far_as_it_must(self, role: Role) -> None:
        read = {
            pattern
            for pattern in ("triage.>", "triage.task.>", "triage.control.>", "triage.telemetry.>")
            if may_publish(role, f"$JS.API.CONSUMER.CREATE.TRIAGE.abc.{pattern}")
        }
        if role in READERS:
            assert len(read) == 4
        else:
            expected = {"triage.control.>"} if role in AGENTS else set()
            assert read == (expected | {"triage.telemetry.>"} if role == "metric" else expected)

    def test_keeps_its_own_snapshots_only(self, role: Role) -> None:
        for machine in ("scheduler", "planner", "monitor"):
            assert may_publish(role, f"$KV.SNAPSHOTS.{machine}.v1") is (role == machine)
            get = f"$JS.API.DIRECT.GET.KV_SNAPSHOTS.$KV.SNAPSHOTS.{machine}.v1"
            assert may_publish(role, get) is (role in (machine, "operator", "reader")), "who records a run reads them"


class TestConfiguration:
    def test_every_user_stands_in_it_and_it_listens_here_only(self, tmp_path: Path) -> None:
        text = server_config(port=1, monitoring_port=2, store_dir=tmp_path, passwords=PASSWORDS)
        assert all(f'"{password}"' in text for password in PASSWORDS.values())
        assert 'host: "127.0.0.1"' in text
        assert 'http: "127.0.0.1:2"' in text
        assert "max_file_store" not in text

    def test_a_limit_of_the_store_can_be_set(self, tmp_path: Path) -> None:
        text = server_config(
            port=1, monitoring_port=2, store_dir=tmp_path, passwords=PASSWORDS, max_store_bytes=1_000_000
        )
        assert '"max_file_store": 1000000' in text

    def test_a_missing_password_is_named(self, tmp_path: Path) -> None:
        passwords = {**PASSWORDS, "planner": ""}
        with pytest.raises(ValueError, match="no broker password for planner"):
            server_config(port=1, monitoring_port=2, store_dir=tmp_path, passwords=passwords)

    def test_the_file_is_for_its_owner_only(self, tmp_path: Path) -> None:
        path = tmp_path / "nats" / "nats.conf"
        for text in ("old", "new"):
            write_config(path, text)
        assert path.read_text() == "new"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_the_server_is_installed(self) -> None:
        assert server_binary().is_file()


class TestStreams:
    def test_the_journal_can_be_neither_purged_nor_rolled_up_nor_pushed_out(self) -> None:
        journal = next(config for config in stream_configs() if config["name"] == "TRIAGE")
        assert journal["deny_purge"] is True
        assert journal["deny_delete"] is True
        assert journal["discard"] == "new"
        # A stream that schedules messages silently allows rollups as well.
        assert not journal.get("allow_msg_schedules")
        assert not journal.get("allow_rollup_hdrs")

    def test_queues_never_combine_a_backoff_with_delays_of_a_nak(self) -> None:
        for queue in WORK_QUEUES:
            config = consumer_config(queue)
            assert "backoff" not in config
            assert config["max_deliver"] == 3
            assert config["ack_wait"] == 5_000_000_000
