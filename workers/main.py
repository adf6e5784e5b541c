"""Entry point of the Dramatiq command line: imports every actor."""

from __future__ import annotations

from workers import inbox, maintenance, outbox, sessions, usage
from workers.broker import broker
from workers.start import check_keys, configure_logs

configure_logs()
check_keys()

__all__ = ["broker", "inbox", "maintenance", "outbox", "sessions", "usage"]
