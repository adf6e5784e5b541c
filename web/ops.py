"""What operators' tools ask, without a key: is the process up, can it work, how is it doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import redis
from flask import Response

from models import clock, database
from models.errors import Unavailable
from models.operations import metrics, queues
from sandbox import address
from settings import settings
from web.http import problems
from web.http.fields import Shape
from web.http.routes import Answer, Call, Routes

routes = Routes("Operations")

# A queue this far behind needs a person: its workers are gone, or too few.
ALARM_SECONDS = 300
REDIS_TIMEOUT_SECONDS = 2
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Health(Shape):
    status: str
    example = {"status": "ok"}


class Readiness(Shape):
    status: str
    oldest_due_seconds: dict[str, float]
    example = {"status": "ready", "oldest_due_seconds": {"usage": 0.0, "webhooks": 0.0}}


@routes.get("/healthz", answer=Health)
def healthz(call: Call) -> Answer:
    """Tell that the process is up."""
    return {"status": "ok"}


@routes.get("/readyz", answer=Readiness, errors=(503,))
def readyz(call: Call) -> Answer:
    """Tell whether all that Scrip needs is there.

    The database, its migrations, Redis, workers that keep up, and in a sandbox its payment provider; the 503 has the
    `reasons`.
    """
    ages: dict[str, float] = {}
    reasons = [reason for check in CHECKS for reason in check(call.now, ages)]
    if reasons:
        fields = {"reasons": reasons, "oldest_due_seconds": ages}
        return problems.write(problems.NOT_READY, "; ".join(reasons), fields, {"Retry-After": "5"})
    return {"status": "ready", "oldest_due_seconds": ages}


@routes.get("/metrics", describe={"responses": {"200": {"description": "OK", "content": {"text/plain": {}}}}})
def show_metrics(call: Call) -> Response:
    """Metrics for Prometheus, of all processes of this node."""
    return Response(metrics.text(now=clock.now()), content_type=PROMETHEUS_TEXT)


def database_is_there(now: datetime, ages: dict[str, float]) -> Iterator[str]:
    """The database answers, has the tables this code wants, and its queues move."""
    try:
        database.read("SELECT 1")  # replaces a connection that the server ended while it idled
        missing = database.pending_migrations()
        if missing:
            yield f"migrations are missing: {', '.join(missing)}"
            return
        ages.update(queues.overdue_seconds(now=now))
    except Exception:
        database.discard()
        yield "the database does not answer"
        return
    for name, seconds in ages.items():
        if seconds > ALARM_SECONDS:
            yield f"the oldest due row of {name} has waited for {seconds:.0f} s"


def redis_is_there(now: datetime, ages: dict[str, float]) -> Iterator[str]:
    """Redis answers. Without it work is done all the same, up to half a minute later."""
    try:
        _redis_client().ping()
    except (redis.RedisError, OSError, Unavailable):
        yield "Redis does not answer"


def sandbox_is_there(now: datetime, ages: dict[str, float]) -> Iterator[str]:
    """In a sandbox, what stands for the payment providers answers."""
    if settings.sandbox and settings.sandbox_url and not address.answers(settings.sandbox_url):
        yield "the sandbox's payment provider does not answer"


CHECKS: tuple[Callable[[datetime, dict[str, float]], Iterator[str]], ...] = (
    database_is_there,
    redis_is_there,
    sandbox_is_there,
)
_client: redis.Redis | None = None


def _redis_client() -> redis.Redis:
    global _client
    if settings.redis_url is None:
        raise Unavailable("REDIS_URL is not set")
    if _client is None:
        timeouts = {"socket_timeout": REDIS_TIMEOUT_SECONDS, "socket_connect_timeout": REDIS_TIMEOUT_SECONDS}
        _client = redis.Redis.from_url(settings.redis_url, **timeouts)
    return _client
