"""L1: one deduction per transaction, in C: pgbench from the wheel, with the best number of connections."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.customers import customers
from benchmarks.databases import Database, measured
from benchmarks.frame import Bench, Measure, Row
from runtime.embedded.postgres import programs_folder

SCRIPT = Path(__file__).with_suffix(".sql")
CONNECTIONS = (8, 16, 32)


@contextmanager
def one_deduction(bench: Bench) -> Iterator[Measure]:
    """Deductions per second on random accounts."""
    seconds = bench.size(2, 4)

    def measure() -> float:
        with measured(database):
            return max(_pgbench(database, bench.customers, count, seconds) for count in CONNECTIONS)

    with customers(bench, "l1") as database:
        yield measure


def _pgbench(database: Database, accounts: int, connections: int, seconds: int) -> float:
    """Transactions per second. Account ids and lot ids both start at 1, because the data set creates them in order."""
    program = str(programs_folder() / "pgbench")
    script = ("--file", str(SCRIPT), f"--define=accounts={accounts}", "--protocol=prepared", "--no-vacuum")
    size = (f"--client={connections}", "--jobs=2", f"--time={seconds}")
    done = subprocess.run([program, *script, *size, database.url], capture_output=True, text=True, check=True)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if found is None or re.search(r"failed transactions: [1-9]", done.stdout):
        raise RuntimeError(f"pgbench did not do its work: {done.stdout}{done.stderr}")
    return float(found.group(1))


L1 = Row("L1", "limits", "one deduction a transaction, in C (pgbench)", "/s", one_deduction)
