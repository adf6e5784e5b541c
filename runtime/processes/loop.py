"""The loop that keeps children running: reads what they write, starts again what ends, stops all in order.

All of it happens in one thread. `_turn` sleeps until a child writes or ends, a signal comes, or it is time to
look at something.
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
LOOK_SECONDS = 0.05
IDLE_SECONDS = 60.0
GRUMBLE_SECONDS = 20.0
HURRIED_SECONDS = 0.5


class StopRequested(Exception):
    """A signal has asked for the end."""


class Loop:
    """Runs children until a signal asks for the end.

    `start`, `finish`, `wait_until`, `pause` and `run` keep all children running meanwhile, and raise
    StopRequested when the signal comes.
    """

    def __init__(self, console: Console, log_dir: Path) -> None:
        self.console, self.log_dir = console, log_dir
        self.children: list[Child] = []
        self._signals = 0
        self._stopping = False
        self._selector = selectors.DefaultSelector()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals are counted, and wake the loop, for the time of the block. Main thread only."""
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
        """Starts all of them, then returns when each is ready.

        With `must_not_end`, one that ends instead raises ProcessError; without, it is started again.
        """
        for child in [self._add(process, restarts=not must_not_end) for process in rows]:
            self._wait_until_ready(child)
            child.restarts = True

    def finish(self, process: Process) -> None:
        """Runs it to its end; raises ProcessError, with its last lines, if that is not exit code 0."""
        child = self._add(process, restarts=False)
        self.wait_until(lambda: child.ends > 0)
        self.children.remove(child)
        child.output.close()
        if child.exit_code != 0:
            raise ProcessError("\n".join([child.how_it_ended(), *child.output.last_lines]))

    def wait_until(self, condition: Callable[[], bool], look_seconds: float = LOOK_SECONDS) -> None:
        """Returns when `condition` holds."""
        while not condition():
            self._turn(look_seconds)

    def pause(self) -> None:
        """A moment, for those who look again and again."""
        self._turn(LOOK_SECONDS)

    def run(self) -> None:
        """Never returns: it is left by StopRequested."""
        self.wait_until(lambda: False, IDLE_SECONDS)

    def stop_all(self) -> None:
        """Stops the children, the one that started last first. A second signal cuts their time short."""
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
            # It has closed its output but may run on; an exhausted pipe would wake the loop for ever.
            self._selector.unregister(child.pipe)

    def _turn(self, seconds: float) -> None:
        if self._signals and not self._stopping:
            raise StopRequested
        for key, _ in self._selector.select(self._at_most(seconds)):
            key.data()
        for child in self.children:
            if child.popen is not None and child.has_ended():
                self._bury(child)
            elif child.is_due() and not self._stopping:
                self._restart(child)

    def _at_most(self, seconds: float) -> float:
        """Not longer than until the next start."""
        starts = [child.restart_at for child in self.children if child.popen is None and child.restarts]
        return max(0.0, min([seconds, *(moment - time.monotonic() for moment in starts)]))

    def _bury(self, child: Child) -> None:
        if child.pipe in self._selector.get_map():
            self._selector.unregister(child.pipe)
        child.on_failure()
        if child.restarts and not self._stopping:
            self._plan_restart(child, child.how_it_ended())

    def _restart(self, child: Child) -> None:
        try:
            self._start(child)
        except ProcessError as error:
            self._plan_restart(child, str(error))

    def _plan_restart(self, child: Child, reason: str) -> None:
        pause = child.plan_restart()
        self.console.alarm(f"{reason}; it starts again in {pause:.1f} s")
        if pause == FIRST_PAUSE_SECONDS and child.exit_code > 0 and not self.console.verbose:
            for line in child.output.last_lines:
                self.console.line(child.process.name, line)

    def _wait_until_ready(self, child: Child) -> None:
        patience = time.monotonic() + GRUMBLE_SECONDS
        while not child.is_ready():
            if child.ends and not child.restarts:
                raise ProcessError("\n".join([child.how_it_ended(), *child.output.last_lines]))
            if time.monotonic() > patience:
                self.console.alarm(f"{child.process.name} is not ready yet; see {child.output.path}")
                patience += GRUMBLE_SECONDS
            self.pause()

    def _stop(self, child: Child) -> None:
        if child.popen is None:
            return
        processes.ask_to_stop(child.process, child.popen)
        asked_at = time.monotonic()
        while child.popen is not None:
            if time.monotonic() - asked_at > self._time_to_stop(child):
                child.popen.kill()
            self.pause()

    def _time_to_stop(self, child: Child) -> float:
        hurried = self._signals > 1 and not child.process.holds_data
        return HURRIED_SECONDS if hurried else child.process.stop_seconds
