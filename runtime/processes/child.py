"""The life of one process of the table: start, end and restart."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from runtime import processes
from runtime.processes import Process, ProcessError
from runtime.processes.console import Output

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
# After this run time a child counts as healthy, and its restart pause is reset.
HEALTHY_SECONDS = 30.0


class Child:
    """A row of the table with its process, its output and the time of its next restart."""

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
        """Start the process. Raises ProcessError if it cannot be started."""
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
        """Read the next part of the output: empty at its end, None if none is available now."""
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

    def reap(self) -> None:
        """After its end, kill its process group, read the rest of its output and store its exit code."""
        assert self.popen is not None
        processes.kill_group(self.popen)
        self.exit_code = self.popen.wait()
        self.popen = None
        self.ends += 1
        while self.read():
            pass
        os.close(self.pipe)

    def plan_restart(self) -> float:
        """Schedule the next restart. Returns the pause in seconds: doubled at each end, up to a maximum."""
        if time.monotonic() - self._started_at > HEALTHY_SECONDS:
            self._pause_seconds = FIRST_PAUSE_SECONDS
        pause = self._pause_seconds
        self._pause_seconds = min(pause * 2, LONGEST_PAUSE_SECONDS)
        self.restart_at = time.monotonic() + pause
        return pause

    def is_due(self) -> bool:
        return self.popen is None and self.restarts and time.monotonic() >= self.restart_at

    def exit_message(self) -> str:
        """How the process ended, for operators: by a signal or with an exit code."""
        if self.exit_code < 0:
            return f"{self.process.name} was ended by {signal.Signals(-self.exit_code).name}"
        return f"{self.process.name} ended with exit code {self.exit_code}"
