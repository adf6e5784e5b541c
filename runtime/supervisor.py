"""The supervisor, the foreground process of `make run`: start all processes, restart those that end, stop all.

    exit_code = supervisor.run(settings)

Each process is one row of the table. Processes start in the order of the table and stop in reverse order. A process
that ends is always restarted. docs/running.md describes the effect of killing each process.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from runtime import embedded
from runtime.embedded.folder import DataFolder, Owner
from runtime.processes import Process, ProcessError
from runtime.processes.console import Console
from runtime.processes.loop import Loop, StopRequested
from sandbox import address
from settings import Settings

Command = tuple[str, ...]

PYTHON = sys.executable
MIGRATE: Command = (PYTHON, "manage.py", "migrate")
# The web processes of a killed supervisor end within this time.
PORT_WAIT_SECONDS = 15.0


def table(settings: Settings) -> tuple[Process, ...]:
    """The processes of Scrip itself, in start order. `web` starts last and stops first."""
    return (
        *_providers(settings),
        Process("worker", _dramatiq(settings)),
        Process("scheduler", (PYTHON, "-m", "scheduler.main")),
        Process("web", _granian(settings), ready=lambda pid: is_ready(settings.host, settings.port)),
    )


def _providers(settings: Settings) -> tuple[Process, ...]:
    """The process that simulates Stripe and PayPal; sandbox only."""
    if not settings.sandbox:
        return ()
    return (
        Process("sandbox", (PYTHON, "-m", "sandbox.server"), ready=lambda pid: address.answers(settings.sandbox_url)),
    )


def _dramatiq(settings: Settings) -> Command:
    size = ("--processes", str(settings.worker_processes), "--threads", str(settings.worker_threads))
    return (
        PYTHON,
        "-m",
        "dramatiq",
        "workers.main",
        *size,
        "--skip-logging",
        "--worker-shutdown-timeout",
        "8000",
    )


def _granian(settings: Settings) -> Command:
    place = ("--host", settings.host, "--port", str(settings.port), "--backlog", "4096")
    size = ("--workers", str(settings.web_workers), "--runtime-mode", "st", "--backpressure", "4096")
    life = ("--respawn-failed-workers", "--workers-kill-timeout", "10", "--http1-header-read-timeout", "10000")
    kind = ("--interface", "asginl", "--http", "1", "--no-ws", "--log-level", "warning")
    return (PYTHON, "-m", "granian", *kind, *place, *size, *life, "web.asgi:app")


def run(
    settings: Settings,
    rows: Sequence[Process] | None = None,
    *,
    checks: Sequence[Command] = (),
    setup: Sequence[Command] = (MIGRATE,),
    on_ready: Callable[[Settings], None] | None = None,
    verbose: bool = False,
) -> int:
    """Run Scrip in the foreground until SIGINT, SIGTERM or SIGHUP. Call it in the main thread.

    rows: the processes beside the embedded servers; `table(settings)` by default.
    checks: commands that must succeed before anything starts. They must not use the servers.
    setup: commands that must succeed after the servers are ready and before the rows start.
    on_ready: called with the resolved settings, in its own thread, when every row is ready.
    Returns the exit code: 0 after a stop signal, 1 if Scrip could not start, with the error on stdout.
    """
    console = Console(verbose)
    loop = Loop(console, settings.log_dir)
    try:
        with loop.handle_signals(), ExitStack() as stack:
            _run(settings, rows, checks, setup, on_ready, loop, stack)
    except StopRequested:
        console.info("stopped")
        return 0
    except ProcessError as error:
        for line in str(error).splitlines():
            console.error(line)
        return 1
    return 0


def _run(
    settings: Settings,
    rows: Sequence[Process] | None,
    checks: Sequence[Command],
    setup: Sequence[Command],
    on_ready: Callable[[Settings], None] | None,
    loop: Loop,
    stack: ExitStack,
) -> None:
    """Start everything and run the loop. `stack` undoes it in reverse: end attachments, stop children, unlock."""
    began_at = time.monotonic()
    owner = stack.enter_context(_own(DataFolder(settings.data_dir), settings.port, loop))
    _wait_for_port(settings.host, settings.port, "PORT", owner, loop)
    if rows is None and settings.sandbox:
        settings = replace(settings, sandbox_url=_sandbox_url(settings, owner, loop))
    planned = embedded.plan(settings, stack.enter_context(owner.sockets()))
    stack.callback(loop.stop_all)
    stack.callback(_announce_stop, loop)
    for command in checks:
        loop.finish(Process("check", command))
    resolved = embedded.export(settings, planned.servers)
    loop.start(planned.processes, must_not_end=True)
    stack.enter_context(owner.published(vars(planned.servers), wait=False))
    for command in setup:
        loop.finish(Process("setup", command))
    loop.start(table(resolved) if rows is None else rows)
    loop.console.info(f"ready after {time.monotonic() - began_at:.1f} s; Ctrl-C stops it")
    if on_ready is not None:
        threading.Thread(target=on_ready, args=(resolved,), daemon=True).start()
    loop.run()


def _announce_stop(loop: Loop) -> None:
    """Mute the children, whose errors now only report that other processes have stopped. Log files keep them."""
    if loop.children:
        loop.console.info("stopping")
    loop.console.muted = not loop.console.verbose


def _own(folder: DataFolder, port: int, loop: Loop) -> Owner:
    """Claim the data folder. Waits for a command that owns it; raises ProcessError if another supervisor does."""
    announced = False
    while not (owner := folder.claim("up", port)):
        holder = folder.owner()
        if holder.get("role") == "up":
            raise ProcessError(
                f"Scrip is already running with {folder.path} (process {holder['pid']}, port {holder['port']}); "
                "set another PORT and another SCRIP_DATA_DIR for a second instance"
            )
        if holder and not announced:
            loop.console.info(f"waiting for process {holder['pid']}, which uses {folder.path}")
            announced = True
        loop.pause()
    return owner


def _sandbox_url(settings: Settings, owner: Owner, loop: Loop) -> str:
    """The URL of the sandbox's providers, chosen before the start because every process needs it."""
    if settings.sandbox_port:
        _wait_for_port(address.HOST, settings.sandbox_port, "SCRIP_SANDBOX_PORT", owner, loop)
    return settings.sandbox_url or address.choose_url(settings)


def _wait_for_port(host: str, port: int, variable: str, owner: Owner, loop: Loop) -> None:
    deadline = time.monotonic() + (PORT_WAIT_SECONDS if owner.follows_a_kill else 0)
    while problem := port_problem(host, port, variable):
        if time.monotonic() >= deadline:
            raise ProcessError(problem)
        loop.pause()


def port_problem(host: str, port: int, variable: str = "PORT") -> str | None:
    """Why the port cannot be bound now, and what to do; None if it can be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Like the web server: a recently closed connection does not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"port {port} on {host} cannot be used ({error.strerror}); try {variable}={port + 1} make run"
    return None


def is_ready(host: str, port: int) -> bool:
    """Whether GET /readyz returns 200. Uses a plain socket, because an HTTP library needs much memory."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        with socket.create_connection((reachable, port), timeout=1) as connection:
            connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            with connection.makefile("rb") as response:
                return response.read().split(b" ", 2)[1:2] == [b"200"]
    except OSError:
        return False
