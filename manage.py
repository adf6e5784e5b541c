#!/usr/bin/env python3
"""The command line of Scrip: `python manage.py --help`. One command, one function below `commands/`.

Every command joins the servers that run for its SCRIP_DATA_DIR, or starts them for its own time. Modules are imported
by the command that needs them: `up` stays small, for it stays.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

import crashpoints  # noqa: F401  (a wrong SCRIP_CRASH_AT is refused here, before anything starts)

COMMANDS = {
    "up": "commands.up",
    "migrate": "commands.migrate",
    "check-catalog": "commands.check_catalog",
    "keys": "commands.keys",
    "verify": "commands.verify",
    "replay": "commands.replay",
    "reconcile": "commands.reconcile",
    "import": "commands.import_",
    "run": "commands.run",
    "call": "commands.call",
    "sandbox": "commands.sandbox",
    "er-diagram": "commands.er_diagram",
    "welcome": "commands.welcome",
}


class Lazy(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table: what one needs first stands first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command's module has it as `command`."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Scrip: prepaid credits and minutes for AI products.

    Exit codes: 0 done, 1 found or failed something, 2 called wrongly.
    """


if __name__ == "__main__":
    from commands.errors import exit_code_of

    try:
        code = main.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except Exception as error:
        sys.exit(exit_code_of(error))
