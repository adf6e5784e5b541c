"""Process start-up: logging, database binding and garbage collector."""

from __future__ import annotations

import gc
import logging
import sys

import structlog

from models import database
from models.catalog import catalog, modes
from settings import settings

GARBAGE_AFTER_OBJECTS = 50_000


def tune_garbage_collector() -> None:
    """Exclude the loaded program from garbage collection, and collect new objects less often.

    A batch allocates about ten thousand objects and no cycles. Python's default thresholds would collect a dozen times
    per batch, and sometimes scan the whole program: a quarter of the time of a drain.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER_OBJECTS)


def bind_database(application_name: str = "scrip worker", threads: int | None = None) -> None:
    """Bind this process to the database, with one connection per thread and a few spare ones."""
    assert settings.database_url, "DATABASE_URL must be set: the supervisor sets it for every process"
    threads = settings.worker_threads if threads is None else threads
    database.bind(settings.database_url, max_connections=threads + 4, application_name=application_name)


def check_keys() -> None:
    """Check the keys that the apps' files name.

    Raises:
        CatalogError: an app has a live key in a sandbox, or a test key outside of one.
    """
    modes.check(catalog.current(), settings)


def configure_logs() -> None:
    """Log one JSON line per event to stderr, from the level `SCRIP_LOG_LEVEL` on."""
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
