"""One child process: how it is started so that it dies with us, and how it is ended with all that it started.

A child gets a session of its own: Ctrl-C in the terminal reaches only the supervisor, and a signal to the
child's process group reaches the child's own children too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1

_prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None


class ProcessError(Exception):
    """A process could not be started or did not become ready; the message is one line for people."""


@dataclass(frozen=True)
class Account:
    """The operating system's user that a process runs as."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True)
class Process:
    """One row of the table of processes: what to run, when it is ready, how it is asked to stop."""

    name: str
    command: tuple[str, ...]
    cwd: Path = ROOT
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    # After this it is killed.
    stop_seconds: float = 12.0
    # Runs before every start, also before a restart; raises ProcessError.
    prepare: Callable[[], None] = field(default=lambda: None)
    # Asked again and again with the process id until it says True.
    ready: Callable[[int], bool] = field(default=lambda pid: True)
    # What it finds in its environment; None means what this process has.
    environment: Mapping[str, str] | None = None
    # A regular expression for the lines of its output that are worth the terminal.
    alarming: str = r"(?i)\b(warning|error|critical|fatal|exception)\b"
    # One with data on disk keeps its time to stop, also when the user is in a hurry.
    holds_data: bool = False


def spawn(process: Process, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts `process` in a session of its own, with stdout and stderr going to `output`.

    When this process dies, however it dies, the child gets its stop signal. Call it in the main thread: the
    kernel takes the end of the starting *thread* for the end of the parent.
    """
    try:
        return subprocess.Popen(
            process.command,
            cwd=process.cwd,
            env=process.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_bound_to(os.getpid(), process.stop_signal),
            **as_account(process.account),
        )
    except OSError as error:
        raise ProcessError(f"{process.name} cannot be started: {error}") from error


def as_account(account: Account | None) -> dict[str, Any]:
    """The arguments of subprocess that make a child run as `account`."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def _bound_to(parent: int, stop_signal: signal.Signals) -> Callable[[], None] | None:
    """What the child runs before it becomes its program; after the change of user, which would undo it."""
    if _prctl is None or threading.current_thread() is not threading.main_thread():
        return None

    def bind() -> None:
        _prctl(PR_SET_PDEATHSIG, stop_signal)
        if os.getppid() != parent:
            os._exit(1)

    return bind


def die_with_parent(stop_signal: signal.Signals = signal.SIGTERM) -> None:
    """Has the kernel send this process `stop_signal` when its parent dies; for what a child forks itself.

    Where the kernel cannot, a thread looks once a second. Call it in the forked process, near its start.
    """
    parent = os.getppid()
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, stop_signal)
    else:
        threading.Thread(target=_end_after, args=(parent, stop_signal), daemon=True).start()
    if os.getppid() != parent:
        os.kill(os.getpid(), stop_signal)


def _end_after(parent: int, stop_signal: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), stop_signal)


def ask_to_stop(process: Process, child: subprocess.Popen[bytes]) -> None:
    """Sends the child its stop signal; it passes the word on to its own children."""
    if child.poll() is None:
        child.send_signal(process.stop_signal)


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kills what is left of the child and of everything in its process group."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # Nobody is left; macOS says "not permitted" of a group of zombies.
        pass


def stop(process: Process, child: subprocess.Popen[bytes]) -> None:
    """Asks, waits for at most `stop_seconds`, kills; returns when nothing of it is left."""
    ask_to_stop(process, child)
    try:
        child.wait(process.stop_seconds)
    except subprocess.TimeoutExpired:
        pass
    kill_group(child)
    child.wait()
