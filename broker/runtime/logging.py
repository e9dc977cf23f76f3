"""Logs of the roles: one JSON object a line on standard output, never a stack of half-lines.

Every line has `ts`, `level`, `role`, `instance` and `event`, a short stable name; facts are fields beside it. Journal
sequences stand as `seq` and `cause`, so that a line can be found again from the journal.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(role: str, instance: str, level: str = "info") -> FilteringBoundLogger:
    """Set up logging of this process, libraries included, and return its logger."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            _in_order,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    log: FilteringBoundLogger = structlog.get_logger(role=role, instance=instance)
    handler = _ToStructlog(log)
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, LEVELS[level]), force=True)
    return log


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = {key: event.pop(key) for key in ("ts", "level", "role", "instance", "event") if key in event}
    return {**first, **event}


class _ToStructlog(logging.Handler):
    """What libraries log through the standard library, in the same shape."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, Any] = {"logger": record.name, "text": record.getMessage()}
        if record.exc_info:
            facts["exception"] = logging.Formatter().formatException(record.exc_info)
        self._log.log(max(record.levelno, logging.WARNING), "library", **facts)


def complain(sentence: str) -> None:
    """Say in one line on standard error why a process cannot do what it was started for."""
    sys.stderr.write(json.dumps(sentence, ensure_ascii=False)[1:-1].replace('\\"', '"') + "\n")
    sys.stderr.flush()
