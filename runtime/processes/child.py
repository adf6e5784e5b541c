"""One process of the table as it runs, ends and runs again."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from runtime import processes
from runtime.processes import Process, ProcessError
from runtime.processes.console import Output

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
# A child that has run for so long is well again: its next pause is the first one.
WELL_SECONDS = 30.0


class Child:
    """A row of the table with its process, its output, and the moment when it may start again."""

    def __init__(self, process: Process, output: Output, restarts: bool = True) -> None:
        self.process, self.output, self.restarts = process, output, restarts
        self.popen: subprocess.Popen[bytes] | None = None
        self.pipe = -1
        self.exit_code = 0
        self.ends = 0
        self.restart_at = 0.0
        self._started_at = 0.0
        self._pause_seconds = FIRST_PAUSE_SECONDS

    def start(self) -> None:
        """Raises ProcessError if it cannot be started."""
        self.process.prepare()
        pipe, write_end = os.pipe()
        try:
            self.popen = processes.spawn(self.process, write_end)
        except ProcessError:
            os.close(pipe)
            raise
        finally:
            os.close(write_end)
        os.set_blocking(pipe, False)
        self.pipe, self._started_at = pipe, time.monotonic()

    def read(self) -> bytes | None:
        """Takes the next of its output; empty at the end of it, None if there is nothing at the moment."""
        try:
            data = os.read(self.pipe, 65536)
        except BlockingIOError:
            return None
        self.output.feed(data)
        return data

    def has_ended(self) -> bool:
        return self.popen is None or self.popen.poll() is not None

    def is_ready(self) -> bool:
        return self.popen is not None and not self.has_ended() and self.process.ready(self.popen.pid)

    def on_failure(self) -> None:
        """After its end: kills what it started and left behind, takes its last words, keeps its exit code."""
        assert self.popen is not None
        processes.kill_group(self.popen)
        self.exit_code = self.popen.wait()
        self.popen = None
        self.ends += 1
        while self.read():
            pass
        os.close(self.pipe)

    def plan_restart(self) -> float:
        """Seconds until it may start again: doubled at each end, up to the longest pause."""
        if time.monotonic() - self._started_at > WELL_SECONDS:
            self._pause_seconds = FIRST_PAUSE_SECONDS
        pause = self._pause_seconds
        self._pause_seconds = min(pause * 2, LONGEST_PAUSE_SECONDS)
        self.restart_at = time.monotonic() + pause
        return pause

    def is_due(self) -> bool:
        return self.popen is None and self.restarts and time.monotonic() >= self.restart_at

    def how_it_ended(self) -> str:
        if self.exit_code < 0:
            return f"{self.process.name} was ended by {signal.Signals(-self.exit_code).name}"
        return f"{self.process.name} ended with exit code {self.exit_code}"
