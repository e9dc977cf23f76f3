"""Settings as a running Valkey tells them: read from bytes, compared, and never guessed."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from services.platform.embedded import settings
from services.platform.embedded.drift import limits_drift
from services.platform.embedded.settings import compare, read, settings_drift
from services.platform.embedded.world import Program
from services.platform.port import Drift

DECLARED = {"maxmemory": "67108864", "maxmemory-policy": "allkeys-lru", "requirepass": ""}


def cache(port: int) -> Program:
    return Program(
        name="cache",
        command=("valkey-server",),
        environment={},
        managed=True,
        probe="valkey",
        host="127.0.0.1",
        port=port,
        settings=DECLARED,
    )


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Give a port on which everybody who says something gets this answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4_096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join(5.0)


def told(**values: str) -> bytes:
    words = [word for name, value in values.items() for word in (name.replace("_", "-"), value)]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)


def test_a_server_with_its_declared_settings_does_not_drift() -> None:
    with answering(told(maxmemory="67108864", maxmemory_policy="allkeys-lru", requirepass="")) as port:
        assert settings_drift(cache(port)) == []


def test_a_changed_setting_is_named_with_both_values() -> None:
    with answering(told(maxmemory="102400", maxmemory_policy="noeviction", requirepass="")) as port:
        assert settings_drift(cache(port)) == [
            Drift("settings", "maxmemory", "67108864", "102400"),
            Drift("settings", "maxmemory-policy", "allkeys-lru", "noeviction"),
        ]


def test_a_server_that_wants_a_password_drifts_in_its_password_alone() -> None:
    with answering(b"-NOAUTH Authentication required.\r\n") as port:
        assert settings_drift(cache(port)) == [Drift("settings", "requirepass", "(unset)", "*** (another value)")]


def test_a_password_is_never_shown() -> None:
    (found,) = compare({"requirepass": "declared"}, {"requirepass": "hush"})
    assert "hush" not in repr(found)
    assert "declared" not in found.declared


@pytest.mark.parametrize(
    "answer",
    [b"", b"+PONG\r\n", b"-ERR unknown command\r\n", b"*2\r\n$9\r\nmaxmemory", b"*1\r\n$1\r\nx\r\n", b"*99999\r\n"],
)
def test_a_server_that_tells_nothing_usable_is_no_drift(answer: bytes) -> None:
    with answering(answer) as port:
        assert settings_drift(cache(port)) == []


def test_a_server_that_is_away_or_silent_is_no_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        assert settings_drift(cache(port)) == []
    assert settings_drift(cache(port)) == []


def test_an_empty_value_is_read_as_one() -> None:
    assert read(io.BytesIO(told(requirepass=""))) == {"requirepass": ""}


def test_a_lower_limit_of_descriptors_is_drift_and_a_raised_one_is_not() -> None:
    assert limits_drift(8, 1_024) == [Drift("limits", "open files", "1024", "8")]
    assert limits_drift(65_536, 1_024) == []
    assert limits_drift(None, 1_024) == []


def test_an_answer_that_is_cut_off_has_told_nothing() -> None:
    whole = told(maxmemory="67108864")
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"."):
            read(io.BytesIO(whole[:length]))
    with answering(whole[:-4]) as port:
        assert settings_drift(cache(port)) == []
