"""One JSON object per line on standard output: `{"ts","level","service","msg","meta"}` (spec 3, log line structure)."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}
_QUIET = ("uvicorn.error", "uvicorn.access", "httpx", "httpcore", "nats")


class JsonLines(logging.Formatter):
    """Formats a record as one line. Only ASCII leaves it: control characters and line ends in user text stay escaped,
    so that nobody can write a log line by having an odd name."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        meta: dict[str, Any] = dict(getattr(record, "meta", {}))
        if record.exc_info:
            meta["traceback"] = self.formatException(record.exc_info)
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": _LEVELS.get(record.levelname, record.levelname),
            "service": self._service,
            "msg": record.getMessage(),
            "meta": meta,
        }
        return json.dumps(line, default=str)


class Log:
    """Writes log lines of one service."""

    def __init__(self, service: str) -> None:
        self._logger = logging.getLogger(f"shop.{service}")

    def info(self, msg: str, **meta: Any) -> None:
        self._logger.info(msg, extra={"meta": meta})

    def warn(self, msg: str, **meta: Any) -> None:
        self._logger.warning(msg, extra={"meta": meta})

    def error(self, msg: str, **meta: Any) -> None:
        self._logger.error(msg, extra={"meta": meta})


def configure(service: str) -> None:
    """Send everything this process logs, the libraries' warnings too, to standard output as JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
