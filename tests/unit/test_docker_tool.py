"""The tool image's scripts, where they are pure: packets held and released, volumes filled, commands run."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.docker.tool import delay, processes, steps, volume


def packet(number: int, size: int) -> bytes:
    """Return what the kernel sends of one packet."""
    header = delay.attribute(delay.A_PACKET_HEADER, struct.pack("!IHB", number, 0x0800, 1))
    payload = delay.attribute(delay.A_PAYLOAD, struct.pack("!BBH", 0x45, 0, size) + bytes(16))
    return delay.message(delay.PACKET, 8, header + payload, 0, 0)


def test_packets_of_one_datagram_are_read_with_their_sizes() -> None:
    assert list(delay.packets(packet(7, 60) + packet(8, 1500))) == [(7, 60), (8, 1500)]


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_datagram_that_is_cut_off_gives_no_nonsense(cut: int) -> None:
    whole = packet(7, 60)
    assert list(delay.packets(whole[:cut])) in ([], [(7, 0)], [(7, 60)])


def test_attributes_survive_a_round_trip_with_padding() -> None:
    data = delay.attribute(1, b"abc") + delay.attribute(2, b"") + delay.attribute(3, b"12345")
    assert list(delay.attributes(data)) == [(1, b"abc"), (2, b""), (3, b"12345")]


def test_a_delay_is_the_same_for_everyone() -> None:
    schedule = delay.Schedule(0.3, 0.0)
    assert [schedule.release_at(now, 9000) for now in (1.0, 1.5)] == [1.3, 1.8]


def test_a_rate_spaces_packets_by_their_size() -> None:
    schedule = delay.Schedule(0.0, 1000.0)
    assert [schedule.release_at(0.0, 500) for _ in range(3)] == [0.5, 1.0, 1.5]


def test_a_backlog_that_is_too_long_drops() -> None:
    schedule = delay.Schedule(0.0, 1000.0)
    assert schedule.release_at(0.0, 2500) == 2.5
    assert schedule.release_at(0.0, 100) is None
    assert schedule.release_at(1.0, 100) == 2.6


def test_commands_run_in_turn_and_end_at_the_first_that_fails() -> None:
    answers = steps.run([["echo", "one"], ["-", "false"], ["sh", "-c", "echo two >&2; exit 3"], ["echo", "never"]])
    assert answers == [(0, "one\n"), (1, ""), (3, "two\n")]


def test_a_command_that_is_not_there_says_so() -> None:
    [(code, said)] = steps.run([["no-such-command"]])
    assert code == 127
    assert "no-such-command" in said


def test_the_runner_prints_json() -> None:
    ran = subprocess.run(
        [sys.executable, steps.__file__, '[["echo", "hi"]]'], capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout) == [[0, "hi\n"]]


def test_a_large_file_system_is_never_filled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert volume.main("fill", tmp_path) == 1
    assert "no small volume" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_filler_is_measured_and_freed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / volume.FILLER).write_bytes(bytes(5))
    assert volume.main("size", tmp_path) == 0
    assert volume.main("free", tmp_path) == 0
    assert volume.main("free", tmp_path) == 0
    assert capsys.readouterr().out.split() == ["5", "0", "0"]


def test_only_marked_processes_are_found(tmp_path: Path) -> None:
    commands = {
        "1": b"init\0MARK\0",
        "20": b"sh\0-c\0x\0MARK\0",
        "21": b"sh\0MARK\0more\0",
        str(os.getpid()): b"MARK\0",
    }
    for pid, line in commands.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_bytes(line)
    (tmp_path / "self").mkdir()
    (tmp_path / "30").mkdir()
    assert processes.marked("MARK", tmp_path) == [20]
