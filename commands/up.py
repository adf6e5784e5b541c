"""`manage.py up`: start everything in the foreground, as `make run` does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from runtime import supervisor
from settings import Settings, settings

PYTHON = sys.executable
ROOT = Path(__file__).resolve().parent.parent


def welcome(resolved: Settings) -> None:
    """Run the demo and print the first screen, in a separate process, so that its imports use no memory here."""
    subprocess.run([PYTHON, "manage.py", "welcome"], cwd=ROOT, check=False)


@click.command("up", short_help="Start everything in the foreground; Ctrl-C stops it.")
@click.option("--verbose", is_flag=True, help="Show all output of all processes, not only warnings.")
def command(verbose: bool) -> None:
    """Start everything in the foreground.

    Starts PostgreSQL and Valkey (unless DATABASE_URL and REDIS_URL are set), the web server, the workers, the scheduler
    and, in a sandbox, its payment provider. Restarts processes that exit. Stops all of them on Ctrl-C or SIGTERM.
    """
    checks = ((PYTHON, "manage.py", "check-catalog", "--quiet"),)
    raise SystemExit(supervisor.run(settings, checks=checks, on_ready=welcome, verbose=verbose))
