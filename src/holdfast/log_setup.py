"""Logging: structured lines on stderr, as text for people or JSON for programs.

Values are rendered with ``repr`` or as JSON, so that nothing that a client sent can forge a line.
"""

from __future__ import annotations

import logging
import sys

import structlog

from holdfast.config import LogFormat


def configure_logging(style: LogFormat) -> None:
    """Set logging up for the whole process; called once, by the bootstrap."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style is LogFormat.JSON
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
