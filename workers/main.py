"""What the Dramatiq command line loads: every actor."""

from __future__ import annotations

from workers import maintenance, outbox, sessions, usage, webhooks
from workers.broker import broker
from workers.start import configure_logs

configure_logs()

__all__ = ["broker", "maintenance", "outbox", "sessions", "usage", "webhooks"]
