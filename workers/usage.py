"""The actor that settles usage reports."""

from __future__ import annotations

import dramatiq

from jobs import usage
from models import clock
from workers.broker import broker
from workers.drain import drain
from workers.wakeups import drains

# A smaller batch is settled before a second process could start.
HELP_FROM_REPORTS = 100


@drains("usage")
@dramatiq.actor(queue_name="usage", broker=broker)
def settle_usage() -> None:
    """Settle the pending reports."""
    drain("usage", lambda: usage.settle(now=clock.now()), help_from=HELP_FROM_REPORTS)
