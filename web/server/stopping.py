"""What happens when a web process is to stop.

granian waits for the responses that are being sent, and the application learns nothing before they have ended. An event
stream never ends by itself, so that each stop and reload would take until granian kills the process.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from granian import _signals


def call_on_stop(stop: Callable[[], None]) -> None:
    """Have this process call `stop` on its event loop when it is to stop. Call it before granian makes the loop."""
    made_by_granian = _signals.set_loop_signals

    def set_loop_signals(loop: asyncio.AbstractEventLoop) -> Any:
        signal_event = made_by_granian(loop)

        def handle() -> None:
            stop()
            signal_event.set()

        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, handle)
        return signal_event

    _signals.set_loop_signals = set_loop_signals
