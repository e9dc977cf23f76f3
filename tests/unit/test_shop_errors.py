"""Failures are called as the real software calls them."""

from __future__ import annotations

import asyncio
import errno
import json
import socket

import httpx
import pytest
from asyncpg.exceptions import InvalidPasswordError
from valkey.exceptions import ConnectionError as CacheConnectionError

from services.shop.errors import Failure, explain


def wrapped(outer: Exception, inner: Exception) -> Exception:
    try:
        try:
            raise inner
        except Exception as cause:
            raise outer from cause
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
            "ECONNREFUSED",
            f"[Errno {errno.ECONNREFUSED}] refused",
        ),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "ECONNRESET", f"[Errno {errno.ECONNRESET}] reset"),
        (socket.gaierror(-2, "Name or service not known"), "gaierror", "[Errno -2] Name or service not known"),
        (TimeoutError(), "TimeoutError", "TimeoutError"),
        (
            InvalidPasswordError("password authentication failed"),
            "InvalidPasswordError",
            "password authentication failed",
        ),
        (httpx.ReadTimeout(""), "ReadTimeout", "ReadTimeout"),
        (OSError("no number"), "OSError", "no number"),
    ],
)
def test_an_error_keeps_its_own_name_and_words(error: Exception, code: str, text: str) -> None:
    assert explain(error) == Failure(code, text)


def test_a_library_that_wraps_the_system_error_does_not_hide_it() -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")
    middle = wrapped(OSError("All connection attempts failed"), refused)
    assert explain(wrapped(httpx.ConnectError("All connection attempts failed"), middle)).code == "ECONNREFUSED"
    assert explain(wrapped(CacheConnectionError("Error -2"), socket.gaierror(-2, "unknown"))).code == "gaierror"


def test_an_error_without_a_system_error_beneath_speaks_for_itself() -> None:
    error = wrapped(httpx.HTTPError("bad answer"), ValueError("inner"))
    assert explain(error) == Failure("HTTPError", "bad answer")


def test_a_decoder_says_where_it_stumbled() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads(b"{broken")
    assert explain(caught.value).code == "JSONDecodeError"
    assert "line 1 column 2" in explain(caught.value).text


@pytest.mark.asyncio
async def test_an_expired_budget_is_a_timeout() -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(5)
    assert explain(caught.value) == Failure("TimeoutError", "TimeoutError")


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert explain(first) == Failure("ValueError", "first")
