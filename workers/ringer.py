"""Ringing from a thread of its own, for those who must not wait: an answer to a webhook does not depend on Redis.

What a request asks for is remembered as the name of a queue and sent by the thread; asked a hundred times meanwhile, it
is sent once. A ring that a dying process still had to send is lost, as any ring may be: the sweep rings again.
"""

from __future__ import annotations

import os
import threading

from workers.rings import ring


class Ringer:
    """One thread a process, started by the first ring asked for; a fork starts its own."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._asked = threading.Event()
        self._pid = 0
        self._starting = threading.Lock()

    def ask(self, queue: str) -> None:
        """Have the queue rung soon."""
        if self._pid != os.getpid():
            self._start()
        self._wanted.add(queue)
        self._asked.set()

    def _start(self) -> None:
        with self._starting:
            if self._pid != os.getpid():
                threading.Thread(target=self._run, name="ringer", daemon=True).start()
                self._pid = os.getpid()

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            for queue in tuple(self._wanted):
                self._wanted.discard(queue)
                ring(queue)


_ringer = Ringer()
ring_soon = _ringer.ask
