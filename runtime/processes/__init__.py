"""Child processes: start them bound to the life of their parent, and end them with their descendants.

A child runs in its own session: Ctrl-C in the terminal reaches only the supervisor, and a signal to the process group
of the child also reaches the child's children.
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
    """A process could not be started or did not become ready. The message is for operators."""


@dataclass(frozen=True)
class Account:
    """The system user that a process runs as."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True)
class Process:
    """One row of the process table: the command, the readiness check and the stop signal."""

    name: str
    command: tuple[str, ...]
    cwd: Path = ROOT
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    # Seconds after the stop signal until the process is killed.
    stop_seconds: float = 12.0
    # Runs before every start and restart; may raise ProcessError.
    prepare: Callable[[], None] = field(default=lambda: None)
    # Polled with the process id until it returns True.
    ready: Callable[[int], bool] = field(default=lambda pid: True)
    # Environment of the process. None: the environment of the parent.
    environment: Mapping[str, str] | None = None
    # A regular expression for the output lines that are shown on the terminal.
    alarming: str = r"(?i)\b(warning|error|critical|fatal|exception)\b"
    # A process with data on disk keeps its stop time after a second stop signal.
    holds_data: bool = False


def spawn(process: Process, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Start `process` in its own session, with stdout and stderr written to `output`.

    The child gets its stop signal when this process ends, even by a kill. Call it in the main thread: the kernel
    regards the end of the starting *thread* as the end of the parent.

    Raises:
        ProcessError: the command cannot be started.
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
    """The `subprocess` arguments that run a child as `account`."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def _bound_to(parent: int, stop_signal: signal.Signals) -> Callable[[], None] | None:
    """The function that the child runs before its program, after the change of user, which would reset the binding."""
    if _prctl is None or threading.current_thread() is not threading.main_thread():
        return None

    def bind() -> None:
        _prctl(PR_SET_PDEATHSIG, stop_signal)
        if os.getppid() != parent:
            os._exit(1)

    return bind


def die_with_parent(stop_signal: signal.Signals = signal.SIGTERM) -> None:
    """Send this process `stop_signal` when its parent ends; for the forks of a child process.

    Uses the kernel where it supports this, else a thread that checks once a second. Call it in the forked process, near
    its start.
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


def send_stop_signal(process: Process, child: subprocess.Popen[bytes]) -> None:
    """Send the child its stop signal. The child stops its own children."""
    if child.poll() is None:
        child.send_signal(process.stop_signal)


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill the process group of the child."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # The group has ended. For a group of zombies, macOS returns "not permitted".
        pass


def stop(process: Process, child: subprocess.Popen[bytes]) -> None:
    """Send the stop signal, wait for at most `stop_seconds`, then kill the process group."""
    send_stop_signal(process, child)
    try:
        child.wait(process.stop_seconds)
    except subprocess.TimeoutExpired:
        pass
    kill_group(child)
    child.wait()
