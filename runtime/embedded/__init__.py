"""Embedded PostgreSQL and Redis-protocol servers below the data folder, used where no server URL is set.

    with embedded.ensure(settings) as servers:
        ...  # servers.database_url, servers.redis_url

attaches to the running servers of this data folder, or starts them and stops them at the end of the block.
docs/running.md describes the ownership of a data folder and the recovery after a kill.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from runtime import processes
from runtime.embedded.folder import DataFolder, Joined, Owner
from runtime.embedded.postgres import postgres
from runtime.embedded.redis import redis
from runtime.processes import Process, ProcessError
from settings import Settings

__all__ = ["Plan", "Servers", "ensure", "environment", "export", "plan"]

START_SECONDS = 120.0  # recovery after a crash under load reads up to 2 GB of log
JOIN_SECONDS = START_SECONDS + 10
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Servers:
    """The URLs of the database and the Redis-protocol server."""

    database_url: str
    redis_url: str


@dataclass(frozen=True)
class Plan:
    """The servers to start for a data folder, in start order, and their URLs."""

    servers: Servers
    processes: tuple[Process, ...]


@contextmanager
def ensure(settings: Settings) -> Iterator[Servers]:
    """The servers of `settings`, else the running servers of the data folder, else new ones for the block.

    Call it in the main thread.

    Raises:
        ProcessError: the servers cannot be started or joined.
    """
    if settings.database_url and settings.redis_url:
        yield Servers(settings.database_url, settings.redis_url)
        return
    with _hold(DataFolder(settings.data_dir), settings.port) as hold:
        if isinstance(hold, Joined):
            yield Servers(**hold.urls)
        else:
            yield from _own_servers(hold, settings)


def _own_servers(owner: Owner, settings: Settings) -> Iterator[Servers]:
    with ExitStack() as stack:
        planned = plan(settings, stack.enter_context(owner.sockets()))
        for process in planned.processes:
            stack.enter_context(_running(process, settings.log_dir))
        stack.enter_context(owner.published(vars(planned.servers)))
        yield planned.servers


def plan(settings: Settings, sockets: Path) -> Plan:
    """The servers whose URLs `settings` lacks, with their sockets in the folder `sockets`."""
    missing: list[Process] = []
    database_url, redis_url = settings.database_url, settings.redis_url
    if not database_url:
        database_url, process = postgres(settings.data_dir, sockets, settings.connections)
        missing.append(process)
    if not redis_url:
        redis_url, process = redis(settings.data_dir, sockets)
        missing.append(process)
    return Plan(Servers(database_url, redis_url), tuple(missing))


def environment(settings: Settings, servers: Servers) -> dict[str, str]:
    """The environment variables that give another Scrip process the same settings, with these servers."""
    return {
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "HOST": settings.host,
        "PORT": str(settings.port),
        "SCRIP_DATA_DIR": str(settings.data_dir),
        "SCRIP_CATALOG_DIR": str(settings.catalog_dir),
        "SCRIP_SANDBOX": str(int(settings.sandbox)),
        "SCRIP_SANDBOX_URL": settings.sandbox_url or "",
        "SCRIP_DEMO": str(int(settings.demo)),
    }


def export(settings: Settings, servers: Servers, environ: MutableMapping[str, str] = os.environ) -> Settings:
    """Write `environment()` into `environ`, for code that is imported later. Returns the resolved settings."""
    for name, value in environment(settings, servers).items():
        environ[name] = value
        environ.pop(f"{name}_FILE", None)
    return replace(settings, database_url=servers.database_url, redis_url=servers.redis_url)


def _hold(folder: DataFolder, port: int) -> Owner | Joined:
    deadline = time.monotonic() + JOIN_SECONDS
    while time.monotonic() < deadline:
        hold = folder.claim("command", port) or folder.join()
        if hold:
            return hold
        time.sleep(POLL_SECONDS)
    raise ProcessError(f"another process has been starting the servers of {folder.path} for {JOIN_SECONDS:.0f} s")


@contextmanager
def _running(process: Process, log_dir: Path) -> Iterator[None]:
    process.prepare()
    log = log_dir / f"{process.name}.log"
    with open(log, "ab") as output:
        child = processes.spawn(process, output)
    try:
        _wait_until_ready(process, child, log)
        yield
    finally:
        processes.stop(process, child)


def _wait_until_ready(process: Process, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not process.ready(child.pid):
        if child.poll() is not None:
            raise ProcessError(f"{process.name} ended with {child.returncode} at its start; see {log}")
        if time.monotonic() > deadline:
            raise ProcessError(f"{process.name} is not ready after {START_SECONDS:.0f} s; see {log}")
        time.sleep(POLL_SECONDS)
