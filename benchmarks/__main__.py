"""`python -m benchmarks`: measure, print a table, and write it as JSON and SVG.

`BENCH=settle,kernel` selects rows. The benchmark runs its own embedded servers below `benchmarks/.cache`, which keeps
the data sets for the next run. docs/benchmarks.md describes the method.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import settings
from runtime import embedded

HERE = Path(__file__).parent
ROUNDS_QUICK, ROUNDS_FULL = 3, 5
# Settings that are read from the environment: the number of workers. All others have their defaults.
KEPT = ("SCRIP_WORKER_PROCESSES", "SCRIP_WORKER_THREADS")
# Removed, for child processes too: with the keys of a provider, events would be fetched from it.
REMOVED = ("STRIPE_", "PAYPAL_")


@click.command()
@click.option("--quick", is_flag=True, help="Smaller sets, fewer rounds.")
@click.option("--rounds", type=click.IntRange(1), help="How often each row is measured.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=HERE / ".cache", help="The servers and data sets.")
@click.option("--out", type=click.Path(path_type=Path), default=HERE / "out", help="Where the results go.")
def main(quick: bool, rounds: int | None, data_dir: Path, out: Path) -> None:
    """Measure Scrip beside the limits of this machine. BENCH=settle,kernel measures some rows."""
    for name in [name for name in os.environ if name.startswith(REMOVED)]:
        del os.environ[name]
    mine = settings.load(_environment(os.environ, data_dir))
    with embedded.ensure(mine) as servers:
        settings.settings = embedded.export(mine, servers)
        _run(servers, quick, rounds or (ROUNDS_QUICK if quick else ROUNDS_FULL), out)


def _environment(environ: Mapping[str, str], data_dir: Path) -> dict[str, str]:
    kept = {name: environ[name] for name in KEPT if name in environ}
    return {**kept, "SCRIP_DATA_DIR": str(data_dir.resolve()), "SCRIP_SANDBOX": "1", "SCRIP_DEMO": "0"}


def _run(servers: embedded.Servers, quick: bool, rounds: int, out: Path) -> None:
    # Imported here because these modules read the settings at import.
    from benchmarks import frame, report
    from benchmarks.table import ROWS

    console = Console()
    bench = frame.Bench(settings.settings, servers, quick)
    try:
        rows = frame.select(ROWS, os.environ.get("BENCH", "").replace(",", " ").split())
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    machine = report.machine(bench)
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Redrawn rarely, because drawing uses CPU time.
    with Progress(*columns, console=console, refresh_per_second=1) as progress:
        task = progress.add_task("starts", total=frame.turns(rows, rounds))

        def report_step(what: str) -> None:
            progress.update(task, description=what, advance=1)

        results = frame.measure(rows, bench, rounds, report_step)
    report.show(results, console)
    report.write(results, machine, out)
    console.print(f"{out / 'bench.json'}, {out / 'bench.svg'}", soft_wrap=True)


if __name__ == "__main__":
    main()
