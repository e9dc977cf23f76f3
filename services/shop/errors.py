"""Errors of the shop, and how a foreign exception is named in logs and health answers.

```
ShopError
├── SettingsError      an environment variable is missing or wrong; the process ends with code 2
├── RequestRefused     the caller's fault (4xx); logged as WARN
├── OverloadedError    more requests in flight than the service works on at once (503); logged as ERROR
├── ConsumerStalledError  messages wait and the queue gives none; logged as WARN
└── DependencyFailed   a dependency did not do its part (5xx); carries the real exception, logged as ERROR
```

Nothing here invents an error: `explain` only finds the name and text that the real software gave.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass


class ShopError(Exception):
    """Base of all errors of the shop's own."""


class SettingsError(ShopError):
    """The environment does not say what the service needs to know."""


class RequestRefused(ShopError):
    """The request cannot be served as it is; `status` is the HTTP status (400..499)."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class OverloadedError(ShopError):
    """The service sheds a request rather than queue it behind others that nobody waits for any more."""


class ConsumerStalledError(ShopError):
    """`waiting` messages lie in the queue for a consumer that waits for them, and it is given none."""

    def __init__(self, waiting: int, text: str) -> None:
        super().__init__(text)
        self.waiting = waiting


class DependencyFailed(ShopError):
    """`dependency` raised `cause` while a request needed it; `status` is the HTTP status (500..599).

    `upstream` is what a neighbour itself gave as its reason, if it answered: `{"code","msg","dependency"}`.
    """

    def __init__(self, dependency: str, cause: Exception, status: int = 500, upstream: object = None) -> None:
        super().__init__(str(cause))
        self.dependency = dependency
        self.cause = cause
        self.status = status
        self.upstream = upstream


@dataclass(frozen=True, slots=True)
class Failure:
    """Name and text of a failure as the real software gave them."""

    code: str
    """Class name; for operating-system errors the errno name (`ECONNREFUSED`); for a name failure `gaierror`."""
    text: str


def explain(error: BaseException) -> Failure:
    """Return how an exception is called.

    Client libraries wrap the operating system's error in their own and often lose its number, so the chain of
    causes is searched for it first; without one the outermost exception speaks. An exception without a text is
    called by its class.
    """
    for link in _chain(error):
        if isinstance(link, socket.gaierror):
            return Failure("gaierror", str(link))
        if isinstance(link, OSError) and link.errno is not None and link.errno in errno.errorcode:
            return Failure(errno.errorcode[link.errno], str(link))
    return Failure(type(error).__name__, str(error) or type(error).__name__)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in found:
        found.append(link)
        link = link.__cause__ or link.__context__
    return found
