"""Which world an agent works on: the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.platform import open_platform
from broker.errors import SettingsError
from broker.runtime.settings import Settings
from services.platform.embedded.adapter import EmbeddedPlatform
from services.platform.proxy.client import RemotePlatform


def test_without_a_word_it_is_the_embedded_world(tmp_path: Path) -> None:
    assert isinstance(open_platform(Settings(home=tmp_path)), EmbeddedPlatform)


def test_on_docker_it_is_the_world_behind_the_proxy(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, platform="docker", platform_url="http://platform:7000", platform_token_file=tmp_path / "token"
    )
    assert isinstance(open_platform(settings), RemotePlatform)


@pytest.mark.parametrize("given", [{"platform_url": "http://platform:7000"}, {"platform_token_file": Path("/x")}, {}])
def test_on_docker_without_the_proxy_that_is_said(tmp_path: Path, given: dict[str, object]) -> None:
    settings = Settings.model_validate({"home": tmp_path, "platform": "docker", **given})
    with pytest.raises(SettingsError, match="TRIAGE_PLATFORM_URL and TRIAGE_PLATFORM_TOKEN_FILE must name"):
        open_platform(settings)
