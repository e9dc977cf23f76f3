"""One whole compose stack for all tests that need it; every test finds it healthy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.compose_stack import ComposeStack, running_stack


@pytest.fixture(scope="session")
def whole_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """Bring the stack up for a session; at its end nothing of it may be left."""
    with running_stack(tmp_path_factory.mktemp("home")) as stack:
        yield stack


@pytest.fixture
def stack(whole_stack: ComposeStack) -> ComposeStack:
    """Give the stack, healthy."""
    whole_stack.until_healthy()
    return whole_stack
