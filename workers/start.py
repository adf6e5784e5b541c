"""What a process does once before it works: logs, and the way to the database."""

from __future__ import annotations

import gc
import logging
import sys

import structlog

from models import database
from settings import settings

GARBAGE_AFTER_OBJECTS = 50_000


def spare_the_collector() -> None:
    """Have the cycle collector leave the loaded program alone, and look at what is new less often.

    A batch makes some ten thousand objects and no cycles. By default Python would look through them a dozen times a
    batch, and now and then through the whole program: a quarter of a drain's time.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER_OBJECTS)


def bind_database(application_name: str = "scrip worker", threads: int | None = None) -> None:
    """Point this process at the database, with a connection a thread and a few to spare."""
    assert settings.database_url, "the supervisor gives every process the address of the database"
    threads = settings.worker_threads if threads is None else threads
    database.bind(settings.database_url, max_connections=threads + 4, application_name=application_name)


def configure_logs() -> None:
    """One JSON line an event, to stderr, at the level of the settings."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
