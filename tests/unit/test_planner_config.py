"""From settings to the planner's parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.runtime.settings import Settings
from planner_svc.__main__ import make_machine
from planner_svc.config import model_settings
from planner_svc.errors import ModelAddressError, ModelKeyError
from tests.support.planner_world import shop


def settings(home: Path, **fields: object) -> Settings:
    return Settings.model_validate({"home": home, "role": "planner", **fields})


def test_machine_is_made_from_settings_and_inventory(tmp_path: Path) -> None:
    machine = make_machine(settings(tmp_path, planner_mode="rulebook"), shop())
    assert (machine.name, machine.version) == ("planner", 1)
    assert machine.config.mode == "rulebook"
    assert machine.config.inventory == shop()
    assert machine.config.rulebook.rules


def test_model_settings_follow_the_settings(tmp_path: Path) -> None:
    given = settings(
        tmp_path, model_url="http://u:p@localhost:9/v1/", model_name="m", model_temperature=0.2, model_seed=7
    )
    chosen = model_settings(given)
    assert (chosen.url, chosen.shown_url) == ("http://u:p@localhost:9/v1", "http://localhost:9/v1")
    assert (chosen.name, chosen.temperature, chosen.seed, chosen.key) == ("m", 0.2, 7, None)


def test_key_is_the_first_line_of_its_file_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-secret \ncomment\n")
    chosen = model_settings(settings(tmp_path, model_key_file=file))
    assert chosen.key == "sk-secret"
    assert "sk-secret" not in repr(chosen)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", "schlüssel\n".encode(), b"a\x00b\n"])
def test_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ModelKeyError, match="key"):
        model_settings(settings(tmp_path, model_key_file=file))


def test_missing_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelKeyError, match="cannot be read"):
        model_settings(settings(tmp_path, model_key_file=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "address",
    [
        "http://u:secret-word@[::1",
        "http://u:secret-word@127.0.0.1:99999/v1",
        "http://u:secret-word@127.0.0.1:x/v1",
        "http://:80",
        "http://localhost:1234/v1?key=secret-word",
        "http://localhost:1234/v1#secret-word",
    ],
)
def test_impossible_address_of_an_endpoint_is_refused_without_quoting_it(tmp_path: Path, address: str) -> None:
    with pytest.raises(ModelAddressError, match="model_url is no address") as caught:
        model_settings(settings(tmp_path, model_url=address))
    assert "secret-word" not in str(caught.value)


def test_token_limits_follow_the_settings(tmp_path: Path) -> None:
    chosen = model_settings(settings(tmp_path, model_max_tokens=64, model_plan_max_tokens=1_500))
    assert (chosen.max_tokens, chosen.plan_max_tokens) == (64, 1_500)
