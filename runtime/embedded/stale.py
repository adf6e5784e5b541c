"""What a server that was not stopped leaves behind: its pid file, and perhaps processes that still run.

PostgreSQL itself refuses to start when the process number in that file belongs to somebody, also to somebody
else, which is common after the restart of a container. Whoever calls this owns the data folder, so no server
may run there: one that does has lost its owner, and is ended first.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil

STOP_SECONDS = 20.0
KILL_SECONDS = 5.0
POLL_SECONDS = 0.02


def end_leftovers(pid_file: Path, name: str, stop_signal: signal.Signals) -> None:
    """Ends the processes called `name` that work in the folder of `pid_file`, then removes the file."""
    try:
        main_pid = pid_file.read_text().partition("\n")[0].strip()
    except FileNotFoundError:
        return
    _end(_processes_in(pid_file.parent, name), main_pid, stop_signal)
    pid_file.unlink(missing_ok=True)


def _end(running: list[psutil.Process], main_pid: str, stop_signal: signal.Signals) -> None:
    main = [process for process in running if str(process.pid) == main_pid]
    # The main process tells the others; without it each has to be told.
    for process in main or running:
        _send(process, stop_signal if main else signal.SIGQUIT)
    for process in _still_there(running, STOP_SECONDS):
        _send(process, signal.SIGKILL)
    _still_there(running, KILL_SECONDS)


def _still_there(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that have not ended after at most `seconds`. A zombie has: in many containers nobody collects it."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _processes_in(folder: Path, name: str) -> list[psutil.Process]:
    """Each process of a server has its data folder as its working directory."""
    here = str(folder.resolve())
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == name and process.info["cwd"] == here
    ]


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass
