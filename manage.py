#!/usr/bin/env python3
"""The command line of Scrip: `python manage.py --help`. Each command is one function in `commands/`.

Commands that need the database use the servers that are running for their SCRIP_DATA_DIR, or start them. Each command
imports the modules that it needs, because `up` keeps running and should use little memory.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from runtime import crashpoints  # noqa: F401  (rejects an invalid SCRIP_CRASH_AT before anything starts)

COMMANDS = {
    "up": "commands.up",
    "migrate": "commands.migrate",
    "check-catalog": "commands.check_catalog",
    "keys": "commands.keys",
    "verify": "commands.verify",
    "plans": "commands.plans",
    "replay": "commands.replay",
    "reconcile": "commands.reconcile",
    "import": "commands.import_balances",
    "run": "commands.run",
    "call": "commands.call",
    "sandbox": "commands.sandbox",
    "er-diagram": "commands.er_diagram",
    "welcome": "commands.demo",
}


class Lazy(click.Group):
    """A group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The `command` of the command's module."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Scrip: prepaid credits and minutes for AI products.

    Exit codes: 0 success, 1 failure or a problem found, 2 invalid usage.
    """


if __name__ == "__main__":
    from commands.support.errors import exit_code_of

    try:
        code = main.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except Exception as error:
        sys.exit(exit_code_of(error))
