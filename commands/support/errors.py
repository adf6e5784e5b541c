"""Error messages and exit codes of failed commands."""

from __future__ import annotations

import sys

import click

from runtime.processes import ProcessError
from settings import SettingsError


def exit_code_of(error: Exception) -> int:
    """Print an expected error in one line and return its exit code; re-raise any other error with its traceback."""
    if isinstance(error, click.UsageError) and not isinstance(error, click.exceptions.NoArgsIsHelpError):
        more = f" (more: {error.ctx.command_path} --help)" if error.ctx else ""
        click.echo(f"Error: {error.format_message()}{more}", err=True)
        return error.exit_code
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        click.echo("interrupted", err=True)
        return 130
    if isinstance(error, (ProcessError, SettingsError, OSError)):
        click.echo(f"scrip: {error}", err=True)
        return 1
    if "models.errors" in sys.modules and isinstance(error, sys.modules["models.errors"].ScripError):
        click.echo(f"scrip: {error}", err=True)
        return 1
    raise error
