"""Where the dashboard listens and who may ask: loopback alone without a token, and only a token that is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.errors import SettingsError
from dashboard.api.guard import LOOPBACK
from dashboard.api.serve import place, rules
from tests.support.cli import Cli, cli_of


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("a-token-of-some-length\n")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_loopback_needs_no_token_and_answers_its_own_names_only(host: str) -> None:
    found = rules(place(host, 17_480, None))
    assert found.token is None
    assert found.hosts is not None
    assert found.hosts >= LOOPBACK
    assert "evil.example" not in found.hosts


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "triage.example"])  # noqa: S104 - is refused
def test_any_other_address_needs_a_token_and_says_so(host: str, token: Path) -> None:
    with pytest.raises(SettingsError, match="--token-file"):
        place(host, 17_480, None)
    found = rules(place(host, 17_480, token))
    assert (found.token, found.hosts) == ("a-token-of-some-length", None)


def test_a_token_that_others_can_read_is_no_token(token: Path) -> None:
    token.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        place("127.0.0.1", 17_480, token)


@pytest.mark.parametrize(
    "text", ["", "short", "with a\ttab in the middle", "ümläute-in-the-token", "\nsecond-line-is-not-it"]
)
def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused(token: Path, text: str) -> None:
    token.write_text(text)
    with pytest.raises(SettingsError, match="at least 16"):
        place("127.0.0.1", 17_480, token)


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        place("127.0.0.1", 17_480, tmp_path / "nowhere")


def test_an_address_can_be_opened_in_a_browser() -> None:
    assert place("::1", 1, None).address == "http://[::1]:1/"
    assert place("127.0.0.1", 17_480, None).address == "http://127.0.0.1:17480/"


class TestCommand:
    @pytest.fixture
    def cli(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
        return cli_of(tmp_path, capsys, monkeypatch)

    def test_it_does_not_listen_to_the_world_without_a_token(self, cli: Cli) -> None:
        cli("dashboard", "--host", "0.0.0.0").refused(2, "0.0.0.0", "--token-file")  # noqa: S104 - is refused
