"""`python -m benchmarks.compare OTHER`: the CPU time of the hot paths there (before) and here (after).

Runs of both checkouts take turns (benchmarks/run_in_turns.py). docs/benchmarks.md says how to read the table.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from benchmarks import comparison
from benchmarks.run_in_turns import Figures, RunFailed, run_pair

HERE = Path(__file__).parent


@click.command()
@click.argument("other", type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path))
@click.option("--pairs", default=10, type=click.IntRange(2), show_default=True, help="Runs of each checkout.")
@click.option("--out", type=click.Path(path_type=Path), default=HERE / "out" / "compare.json", help="All figures.")
def main(other: Path, pairs: int, out: Path) -> None:
    """Compare the CPU time of the hot paths in OTHER (before) and in this checkout (after)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        before, after = _runs(other, HERE.parent, pairs)
    except RunFailed as error:
        raise click.ClickException(str(error)) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"before": before, "after": after}), encoding="utf-8")
    Console().print(comparison.table(comparison.compare(before, after)))


def _runs(before: Path, after: Path, pairs: int) -> tuple[list[Figures], list[Figures]]:
    """The figures of each pair. Each pair begins with the checkout that was second in the pair before it."""
    runs: dict[Path, list[Figures]] = {before: [], after: []}
    with Progress(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=pairs)
        for pair in range(pairs):
            order = [before, after] if pair % 2 == 0 else [after, before]
            began_at = time.monotonic()
            for checkout, figures in zip(order, run_pair(order), strict=True):
                runs[checkout].append(figures)
            progress.console.print(f"pair {pair + 1} of {pairs}: {time.monotonic() - began_at:.0f} s")
            progress.advance(task)
    return runs[before], runs[after]


if __name__ == "__main__":
    main()
