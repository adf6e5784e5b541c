"""`python -m benchmarks.hot_paths`: measure each hot path once, and print one JSON line.

    {"K1": {"python": [2.1e-05, ...], "server": [4.0e-05, ...]}, ...}

CPU seconds of one unit in each piece of work: of this process, and of its PostgreSQL backends. The servers are embedded
ones, with a data folder of their own.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

import settings
from runtime import embedded

ACCOUNTS = 5_000
# Not to be had from the environment: with the keys of a provider, events would be fetched from it.
REMOVED = ("SCRIP_", "STRIPE_", "PAYPAL_")


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="For the servers; removed at the end.")
@click.option("--in-turns", is_flag=True, help="Print `ready` before each turn and wait for a line of input.")
def main(data_dir: Path | None, in_turns: bool) -> None:
    """Measure each hot path once and print the CPU seconds of one unit of work as one JSON line."""
    _stay_on_one_core()
    folder = data_dir or Path(tempfile.mkdtemp(prefix="scrip-hot-paths-"))
    for name in [name for name in os.environ if name.startswith(REMOVED)]:
        del os.environ[name]
    mine = settings.load({"SCRIP_DATA_DIR": str(folder), "SCRIP_SANDBOX": "1", "SCRIP_DEMO": "0"})
    try:
        with embedded.ensure(mine) as servers:
            settings.settings = embedded.export(mine, servers)
            print(json.dumps(_run(servers.database_url, _wait if in_turns else lambda: None)), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stay_on_one_core() -> None:
    """Have Python and the servers, which inherit this, take turns on one core: moving between cores costs CPU time."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _wait() -> None:
    print("ready", flush=True)
    if not sys.stdin.readline():
        sys.exit("the input ended before the run")


def _run(database_url: str, wait: Callable[[], None]) -> dict[str, dict[str, list[float]]]:
    # Only now: what they import reads the settings.
    from benchmarks.customers import fill
    from benchmarks.databases import Database
    from benchmarks.hot_paths import cpu
    from benchmarks.hot_paths.table import HOT_PATHS, set_up
    from models import database, schema

    random.seed(0)  # the same customers in every run
    set_up(database_url)
    schema.migrate()
    fill(ACCOUNTS)
    # Neither vacuuming nor fresh statistics in the middle of a run: either would disturb some pieces.
    Database(database_url).run("ALTER SYSTEM SET autovacuum = off")
    Database(database_url).run("SELECT pg_reload_conf()")
    paths = {name: cpu.begun(path.pieces(database_url, path.count, ACCOUNTS)) for name, path in HOT_PATHS.items()}
    Database(database_url).tidy()
    costs = cpu.in_turns(database_url, paths, wait)
    database.database.close_all()
    return {
        name: {"python": [cost.python for cost in row], "server": [cost.server for cost in row]}
        for name, row in costs.items()
    }


if __name__ == "__main__":
    main()
