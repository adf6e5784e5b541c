"""Cleanup after a server that was not stopped: its pid file, and processes that still run.

PostgreSQL refuses to start if the process id in the pid file is in use, even by an unrelated process, which is common
after the restart of a container. The caller owns the data folder, so no server may run there: a server that does has
lost its owner and is ended first.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil

STOP_SECONDS = 20.0
KILL_SECONDS = 5.0
POLL_SECONDS = 0.02


def end_stale_processes(pid_file: Path, name: str, stop_signal: signal.Signals) -> None:
    """End the processes called `name` whose working directory is the folder of `pid_file`, then remove the file."""
    try:
        main_pid = pid_file.read_text().partition("\n")[0].strip()
    except FileNotFoundError:
        return
    _end(_processes_in(pid_file.parent, name), main_pid, stop_signal)
    pid_file.unlink(missing_ok=True)


def _end(running: list[psutil.Process], main_pid: str, stop_signal: signal.Signals) -> None:
    main = [process for process in running if str(process.pid) == main_pid]
    # The main process ends the others; without it, each one needs a signal.
    for process in main or running:
        _send(process, stop_signal if main else signal.SIGQUIT)
    for process in _wait(running, STOP_SECONDS):
        _send(process, signal.SIGKILL)
    _wait(running, KILL_SECONDS)


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """The processes that still run after at most `seconds`. A zombie has ended: many containers do not reap it."""
    deadline = time.monotonic() + seconds
    while (remaining := [process for process in processes if _is_running(process)]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return remaining


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _processes_in(folder: Path, name: str) -> list[psutil.Process]:
    """The processes of a server: the data folder is their working directory."""
    cwd = str(folder.resolve())
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == name and process.info["cwd"] == cwd
    ]


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass
