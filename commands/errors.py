"""What a failing command says, and with which exit code it ends."""

from __future__ import annotations

import sys

import click

from runtime.processes import ProcessError
from settings import SettingsError


def exit_code_of(error: Exception) -> int:
    """Say the error in one line where it was to be expected; anything else is a defect and shows its traceback."""
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
