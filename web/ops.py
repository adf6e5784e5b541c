"""Unauthenticated endpoints for operators: liveness, readiness, metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import redis
from flask import Response

from models import clock, database, schema
from models.errors import Unavailable
from models.operations import metrics, queues
from sandbox import address
from settings import settings
from web.http import problems
from web.http.call import Call
from web.http.fields import Shape
from web.http.routes import Answer, Routes

routes = Routes("Operations")

# A queue this far behind needs an operator: it has too few workers, or none.
ALARM_SECONDS = 300
REDIS_TIMEOUT_SECONDS = 2
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Health(Shape):
    status: str
    example = {"status": "ok"}


class Readiness(Shape):
    status: str
    oldest_due_seconds: dict[str, float]
    example = {"status": "ready", "oldest_due_seconds": {"usage": 0.0, "inbox": 0.0}}


@routes.get("/healthz", answer=Health)
def healthz(call: Call) -> Answer:
    """Check that the process is running."""
    return {"status": "ok"}


@routes.get("/readyz", answer=Readiness, errors=(503,))
def readyz(call: Call) -> Answer:
    """Check that Scrip can serve requests.

    Checks the database, its migrations, the age of the oldest due row of each queue, Redis and, in a sandbox, the
    sandbox's payment provider. A 503 lists the `reasons`.
    """
    ages: dict[str, float] = {}
    reasons = [reason for check in CHECKS for reason in check(call.now, ages)]
    if reasons:
        fields = {"reasons": reasons, "oldest_due_seconds": ages}
        return problems.write(problems.NOT_READY, "; ".join(reasons), fields, {"Retry-After": "5"})
    return {"status": "ready", "oldest_due_seconds": ages}


@routes.get("/metrics", describe={"responses": {"200": {"description": "OK", "content": {"text/plain": {}}}}})
def show_metrics(call: Call) -> Response:
    """Retrieve the metrics of all processes of this node, in the Prometheus text format."""
    return Response(metrics.text(now=clock.now()), content_type=PROMETHEUS_TEXT)


def database_problems(now: datetime, ages: dict[str, float]) -> Iterator[str]:
    """Why the database is not ready: no response, missing migrations, or a queue that is far behind. Fills `ages`."""
    try:
        database.read("SELECT 1")  # replaces a connection that the server closed while idle
        missing = schema.pending_migrations()
        if missing:
            yield f"migrations are missing: {', '.join(missing)}"
            return
        ages.update(queues.overdue_seconds(now=now))
    except Exception:
        database.discard()
        yield "the database does not respond"
        return
    for name, seconds in ages.items():
        if seconds > ALARM_SECONDS:
            yield f"the oldest due row of the queue {name} is {seconds:.0f} s overdue"


def redis_problems(now: datetime, ages: dict[str, float]) -> Iterator[str]:
    """Why Redis is not ready. Workers receive their wake-ups through it, so without it queues are not drained."""
    try:
        _redis_client().ping()
    except (redis.RedisError, OSError, Unavailable):
        yield "Redis does not respond"


def sandbox_problems(now: datetime, ages: dict[str, float]) -> Iterator[str]:
    """Why the sandbox's payment provider is not ready."""
    if settings.sandbox and settings.sandbox_url and not address.answers(settings.sandbox_url):
        yield "the sandbox's payment provider does not respond"


CHECKS: tuple[Callable[[datetime, dict[str, float]], Iterator[str]], ...] = (
    database_problems,
    redis_problems,
    sandbox_problems,
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
