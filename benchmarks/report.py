"""The results of a run: a table on the terminal, `bench.json` and `bench.svg`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

import orjson
import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.frame import Bench, Result
from benchmarks.picture import picture

MUCH = 15.0


def machine(bench: Bench) -> dict[str, Any]:
    """The machine and versions. Call it before the run, so that the load is that of other processes."""
    with psycopg.connect(bench.servers.database_url) as conn:
        (postgres,) = conn.execute("SHOW server_version").fetchone() or ("",)
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "postgres": postgres,
        "dramatiq": version("dramatiq"),
        "worker_processes": bench.settings.worker_processes,
        "worker_threads": bench.settings.worker_threads,
        "quick": bench.quick,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def write(results: Sequence[Result], machine: dict[str, Any], folder: Path) -> None:
    """Write `bench.json` and `bench.svg` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"rows": [_as_json(result) for result in results], "machine": machine}
    (folder / "bench.json").write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    (folder / "bench.svg").write_text(picture(results), encoding="utf-8")


def _as_json(result: Result) -> dict[str, Any]:
    row = result.row
    return {
        "id": row.id,
        "what": row.what,
        "value": _rounded(result.value),
        "unit": row.unit,
        "parts": {name: _rounded(value) for name, value in result.median_parts.items()},
        "ratio": _rounded(result.ratio),
        "limit": row.limit,
        "limit_value": _rounded(result.limit),
        "target": row.target,
        "met": result.met,
        "rounds": [_rounded(value) for value in result.values],
        "limit_rounds": [_rounded(value) for value in result.limits],
        "busy_percent": result.busy,
    }


def _rounded(value: float | None) -> float | None:
    """The value rounded to four significant digits, the accuracy of the measurement."""
    return None if value is None else float(f"{value:.4g}")


def show(results: Sequence[Result], console: Console) -> None:
    """Print the table. The line of a limit covers its rounds with all figures."""
    table = Table(title="figures, each beside the limit of the same minutes")
    for name in ("", "figure"):
        table.add_column(name)
    for name in ("value", "parts", "spread", "limit", "ratio", "target"):
        table.add_column(name, justify="right")
    table.add_column("met")
    for result in results:
        table.add_row(*_cells(result))
    console.print(table)
    busy = mean([percent for result in results for percent in result.busy] or [0.0])
    console.print(f"Before the rounds others kept the machine {busy:.0f} % busy.", style="red" if busy > MUCH else "")


def _cells(result: Result) -> tuple[str, ...]:
    row = result.row
    sign = "≤" if row.at_most else "≥"
    return (
        row.id,
        row.what,
        f"{_text(result.value)} {row.unit}",
        " + ".join(f"{name} {_text(value)}" for name, value in result.median_parts.items()),
        f"{result.spread:.0%}",
        f"{row.limit} {_text(result.limit)}" if result.limit else "",
        f"{result.ratio:.2f}" if result.ratio is not None else "",
        f"{sign} {row.target:g}" if row.target is not None else "",
        {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[result.met],
    )


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
