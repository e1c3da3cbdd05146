"""Logs: structlog to standard error, one action a line. Tokens and the text of posts are never logged."""

import logging
import sys

import structlog
from aiohttp import http_exceptions


def configure(*, json: bool = False, level: str = "info") -> None:
    """Set up once, at the start of a command. ``json``: one JSON object a line instead of text for people."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # The SDKs log requests with their content at INFO and DEBUG: only their warnings pass.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for name in ("slack_bolt", "slack_sdk", "discord", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("aiohttp.server").addFilter(_quotes_nothing)


def _quotes_nothing(record: logging.LogRecord) -> bool:
    """aiohttp's word on a malformed request quotes it, which may be a post; whoever sent it is answered 400."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, http_exceptions.HttpProcessingError)
