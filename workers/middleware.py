"""Dramatiq middleware: database connections, metrics and logs of failed actors."""

from __future__ import annotations

import time
from typing import Any

import dramatiq
import structlog
from dramatiq.middleware import Middleware

from models import database
from models.operations import metrics
from runtime.processes import die_with_parent
from workers.start import bind_database, tune_garbage_collector

log = structlog.get_logger()


class DatabaseConnections(Middleware):
    """Binds each worker process to the database and releases the connection after each message."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        """Give the process its own connection pool, and end the process if the master process dies."""
        die_with_parent()
        bind_database()
        tune_garbage_collector()

    def after_process_message(
        self, broker: dramatiq.Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Release the thread's connection. After a failure its state is unknown, so it is closed."""
        if exception is not None:
            database.discard()
        database.release()

    def after_skip_message(self, broker: dramatiq.Broker, message: Any) -> None:
        """Release the thread's connection after a skipped message."""
        database.release()

    def before_worker_thread_shutdown(self, broker: dramatiq.Broker, thread: Any) -> None:
        """Release the connection of a thread that ends."""
        database.release()


class Measure(Middleware):
    """Records the count and duration of actors, and logs failures."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}

    def before_process_message(self, broker: dramatiq.Broker, message: Any) -> None:
        """Record the start time of the message."""
        self.started[message.message_id] = time.perf_counter()

    def after_process_message(
        self, broker: dramatiq.Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Record the duration, and log an exception. The rows themselves store the error of a failed attempt."""
        seconds = time.perf_counter() - self.started.pop(message.message_id, time.perf_counter())
        metrics.observe_actor(message.actor_name, seconds, failed=exception is not None)
        if exception is not None:
            log.error("actor failed", actor=message.actor_name, error=f"{type(exception).__name__}: {exception}")

    def after_skip_message(self, broker: dramatiq.Broker, message: Any) -> None:
        """Discard the start time of a message that was not run."""
        self.started.pop(message.message_id, None)
