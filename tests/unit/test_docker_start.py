"""How a container finds out which instance it is: the DNS answer it reads, and the name it makes of it."""

from __future__ import annotations

import struct

import pytest

from deploy.docker.pointer import name_of, question, read_answer
from deploy.docker.start import instance_name

NAME = "agentic-triage-log-agent-2.agentic-triage_control"


def answer(number: int, name: str, *, compressed: bool = False) -> bytes:
    """Return the packet of a name server that knows one name, as Docker's sends it."""
    asked = question(number, "172.20.0.7")
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    whose = struct.pack("!H", 0xC00C) if compressed else asked[12:-4]
    record = whose + struct.pack("!HHIH", 12, 1, 600, len(labels)) + labels
    return struct.pack("!6H", number, 0x8180, 1, 1, 0, 0) + asked[12:] + record


def test_the_question_is_for_the_reversed_address() -> None:
    assert question(7, "172.20.0.5")[12:] == b"\x015\x010\x0220\x03172\x07in-addr\x04arpa\x00\x00\x0c\x00\x01"


@pytest.mark.parametrize("compressed", [True, False])
def test_the_name_in_an_answer_is_read(compressed: bool) -> None:
    assert read_answer(answer(7, NAME, compressed=compressed), 7) == NAME


def test_an_answer_without_a_name_is_none() -> None:
    packet = struct.pack("!6H", 7, 0x8183, 1, 0, 0, 0) + question(7, "172.20.0.7")[12:]
    assert read_answer(packet, 7) is None


def test_an_answer_to_another_question_is_refused() -> None:
    with pytest.raises(ValueError, match="another question"):
        read_answer(answer(8, NAME), 7)


def test_a_name_that_points_at_itself_ends() -> None:
    packet = struct.pack("!6H", 7, 0x8180, 0, 1, 0, 0) + struct.pack("!H", 0xC00C)
    with pytest.raises(ValueError, match="without an end"):
        read_answer(packet, 7)


@pytest.mark.parametrize("cut", range(12, 60, 4))
def test_an_answer_cut_short_is_an_error_and_no_wrong_name(cut: int) -> None:
    with pytest.raises((ValueError, struct.error, IndexError)):
        read_answer(answer(7, NAME)[:cut], 7)


def test_where_nobody_answers_there_is_no_name() -> None:
    assert name_of("172.20.0.7", server="127.255.255.254") is None


def test_an_instance_is_called_as_compose_numbers_it() -> None:
    assert instance_name([NAME], "log", "8f1c2d") == "log-agent-2"


def test_a_one_off_container_is_called_as_compose_calls_it() -> None:
    names = ["4f1e.other", "shop-triage-run-91ab.shop_control"]
    assert instance_name(names, "operator", "4f1e") == "triage-run-91ab"


def test_a_container_outside_compose_is_called_after_its_role_and_host() -> None:
    assert instance_name(["8f1c2d.bridge"], "log", "8F1C2D.local") == "log-8f1c2d-local"
    assert instance_name([], "log", "8f1c2d") == "log-8f1c2d"
