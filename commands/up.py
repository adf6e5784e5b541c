"""`manage.py up`: everything in the foreground, which is what `make run` does."""

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
    """The demo and the first screen, by a process of their own: what they import would stay in this one."""
    subprocess.run([PYTHON, "manage.py", "welcome"], cwd=ROOT, check=False)


@click.command("up", short_help="Start everything in the foreground; Ctrl-C stops it.")
@click.option("--verbose", is_flag=True, help="Show all output of all processes, not only warnings.")
def command(verbose: bool) -> None:
    """Start PostgreSQL and Valkey (unless DATABASE_URL and REDIS_URL name others), the web server, the workers and the
    scheduler; keep them running; stop them all on Ctrl-C or SIGTERM.
    """
    checks = ((PYTHON, "manage.py", "check-catalog", "--quiet"),)
    raise SystemExit(supervisor.run(settings, checks=checks, on_ready=welcome, verbose=verbose))
