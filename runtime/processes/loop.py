"""The supervisor loop: read the output of the children, restart those that end, stop all in order.

It runs in one thread. `_turn` sleeps until a child writes or ends, a signal arrives, or the next check is due.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from runtime import processes
from runtime.processes import Process, ProcessError
from runtime.processes.child import FIRST_PAUSE_SECONDS, Child
from runtime.processes.console import Console, Output

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_SECONDS = 0.05
IDLE_SECONDS = 60.0
WARN_SECONDS = 20.0
HURRIED_SECONDS = 0.5


class StopRequested(Exception):
    """A stop signal arrived."""


class Loop:
    """Runs children until a stop signal arrives.

    `start`, `finish`, `wait_until`, `pause` and `run` keep all children running, and raise StopRequested on a stop
    signal.
    """

    def __init__(self, console: Console, log_dir: Path) -> None:
        self.console, self.log_dir = console, log_dir
        self.children: list[Child] = []
        self._signals = 0
        self._stopping = False
        self._selector = selectors.DefaultSelector()

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Count stop signals and wake up the loop on signals, during the block. Main thread only."""
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        self._selector.register(reader, selectors.EVENT_READ, partial(os.read, reader, 4096))
        before = {number: signal.signal(number, self._on_signal) for number in (*STOP_SIGNALS, signal.SIGCHLD)}
        wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(reader)
            os.close(writer)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number in STOP_SIGNALS:
            self._signals += 1

    def start(self, rows: Sequence[Process], must_not_end: bool = False) -> None:
        """Start all processes. Returns when each is ready.

        With `must_not_end`, raises ProcessError for a process that ends; otherwise it is restarted.
        """
        for child in [self._add(process, restarts=not must_not_end) for process in rows]:
            self._wait_until_ready(child)
            child.restarts = True

    def finish(self, process: Process) -> None:
        """Run the process to its end. Raises ProcessError, with its last lines, if the exit code is not 0."""
        child = self._add(process, restarts=False)
        self.wait_until(lambda: child.ends > 0)
        self.children.remove(child)
        child.output.close()
        if child.exit_code != 0:
            raise ProcessError("\n".join([child.exit_message(), *child.output.last_lines]))

    def wait_until(self, condition: Callable[[], bool], poll_seconds: float = POLL_SECONDS) -> None:
        """Run the loop until `condition` returns True."""
        while not condition():
            self._turn(poll_seconds)

    def pause(self) -> None:
        """Run the loop for one polling interval."""
        self._turn(POLL_SECONDS)

    def run(self) -> None:
        """Run the loop until StopRequested is raised."""
        self.wait_until(lambda: False, IDLE_SECONDS)

    def stop_all(self) -> None:
        """Stop the children in reverse start order. A second stop signal shortens their stop time."""
        self._stopping = True
        while self.children:
            self._stop(self.children[-1])
            self.children.pop().output.close()

    def _add(self, process: Process, restarts: bool = True) -> Child:
        output = Output(process.name, self.log_dir, self.console, process.alarming)
        child = Child(process, output, restarts)
        self._start(child)
        self.children.append(child)
        return child

    def _start(self, child: Child) -> None:
        child.start()
        self._selector.register(child.pipe, selectors.EVENT_READ, partial(self._read, child))

    def _read(self, child: Child) -> None:
        if child.read() == b"":
            # The output is closed, but the process may still run. A pipe at its end would wake up the loop forever.
            self._selector.unregister(child.pipe)

    def _turn(self, seconds: float) -> None:
        if self._signals and not self._stopping:
            raise StopRequested
        for key, _ in self._selector.select(self._timeout(seconds)):
            key.data()
        for child in self.children:
            if child.popen is not None and child.has_ended():
                self._reap(child)
            elif child.is_due() and not self._stopping:
                self._restart(child)

    def _timeout(self, seconds: float) -> float:
        """`seconds`, or less if a restart is due earlier."""
        starts = [child.restart_at for child in self.children if child.popen is None and child.restarts]
        return max(0.0, min([seconds, *(moment - time.monotonic() for moment in starts)]))

    def _reap(self, child: Child) -> None:
        if child.pipe in self._selector.get_map():
            self._selector.unregister(child.pipe)
        child.reap()
        if child.restarts and not self._stopping:
            self._plan_restart(child, child.exit_message())

    def _restart(self, child: Child) -> None:
        try:
            self._start(child)
        except ProcessError as error:
            self._plan_restart(child, str(error))

    def _plan_restart(self, child: Child, reason: str) -> None:
        pause = child.plan_restart()
        self.console.error(f"{reason}; restarting in {pause:.1f} s")
        if pause == FIRST_PAUSE_SECONDS and child.exit_code > 0 and not self.console.verbose:
            for line in child.output.last_lines:
                self.console.line(child.process.name, line)

    def _wait_until_ready(self, child: Child) -> None:
        warn_at = time.monotonic() + WARN_SECONDS
        while not child.is_ready():
            if child.ends and not child.restarts:
                raise ProcessError("\n".join([child.exit_message(), *child.output.last_lines]))
            if time.monotonic() > warn_at:
                self.console.error(f"{child.process.name} is not ready yet; see {child.output.path}")
                warn_at += WARN_SECONDS
            self.pause()

    def _stop(self, child: Child) -> None:
        if child.popen is None:
            return
        processes.send_stop_signal(child.process, child.popen)
        signalled_at = time.monotonic()
        while child.popen is not None:
            if time.monotonic() - signalled_at > self._stop_seconds(child):
                child.popen.kill()
            self.pause()

    def _stop_seconds(self, child: Child) -> float:
        hurried = self._signals > 1 and not child.process.holds_data
        return HURRIED_SECONDS if hurried else child.process.stop_seconds
