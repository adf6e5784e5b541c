"""What surrounds every actor: a database connection that is given back, and a measure of what it did."""

from __future__ import annotations

import time
from typing import Any

import dramatiq
import structlog
from dramatiq.middleware import Middleware

from models import database
from models.operations import metrics
from runtime.processes import die_with_parent
from workers.start import bind_database, spare_the_collector

log = structlog.get_logger()


class DatabaseConnections(Middleware):
    """Points the worker process at the database, and gives a connection back at the end of each message."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        """Each process has a pool of its own, and does not outlive a master that is killed."""
        die_with_parent()
        bind_database()
        spare_the_collector()

    def after_process_message(
        self, broker: dramatiq.Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """The thread gives its connection back; after a failure its state is not known, and it is closed for good."""
        if exception is not None:
            database.discard()
        database.release()

    def after_skip_message(self, broker: dramatiq.Broker, message: Any) -> None:
        """A skipped message leaves nothing behind either."""
        database.release()

    def before_worker_thread_shutdown(self, broker: dramatiq.Broker, thread: Any) -> None:
        """The thread ends, and its connection with it."""
        database.release()


class Measure(Middleware):
    """Counts and times the actors, and logs those that fail."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}

    def before_process_message(self, broker: dramatiq.Broker, message: Any) -> None:
        """Start the clock of the message."""
        self.started[message.message_id] = time.perf_counter()

    def after_process_message(
        self, broker: dramatiq.Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Stop it; an exception is a line in the log, for the rows themselves keep what failed."""
        seconds = time.perf_counter() - self.started.pop(message.message_id, time.perf_counter())
        metrics.observe_actor(message.actor_name, seconds, failed=exception is not None)
        if exception is not None:
            log.error("actor failed", actor=message.actor_name, error=f"{type(exception).__name__}: {exception}")

    def after_skip_message(self, broker: dramatiq.Broker, message: Any) -> None:
        """Forget a message that was not run."""
        self.started.pop(message.message_id, None)
