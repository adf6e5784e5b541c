"""Two runs of the hot paths side by side, in a checkout each, that take turns piece by piece.

So whatever slows the machine down slows both, and their ratio stays.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

# What `benchmarks.hot_paths` prints: CPU seconds of one unit in each piece of work, by row and part.
Figures = Mapping[str, Mapping[str, Sequence[float]]]
RUN_SECONDS, STOP_SECONDS = 900.0, 60.0
# None of Scrip's settings, and nothing that changes what is imported.
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
MEMORY = Path("/dev/shm")
ROOM_BYTES = 2_000_000_000
LAST_LINES = 20


class RunFailed(Exception):
    """A run ended early; with the last lines that it printed."""


class Run:
    """A process that prepares, and then does one piece of each path at each `turn`."""

    def __init__(self, checkout: Path, child: subprocess.Popen[str], errors: Path) -> None:
        self.checkout, self.child, self.errors = checkout, child, errors
        self.figures: Figures | None = None

    def read(self) -> None:
        """Wait until it is ready for the next turn, or done: then it has figures.

        Raises:
            RunFailed: it ended without them.
        """
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if line.startswith("{"):
            self.figures = json.loads(line)
        elif line != "ready\n":
            last = self.errors.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
            raise RunFailed("\n".join([f"the run in {self.checkout} ended early", *last]))

    def turn(self) -> None:
        """Have it do its turn."""
        assert self.child.stdin is not None
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        self.read()


def run_pair(checkouts: Sequence[Path]) -> list[Figures]:
    """The figures of one run in each checkout. The first one begins the first turn, the second one the next, and so on.

    Raises:
        RunFailed: a run ended early.
    """
    with ExitStack() as stack:
        runs = [stack.enter_context(_started(checkout)) for checkout in checkouts]
        order = list(runs)
        while waiting := [run for run in order if run.figures is None]:
            for run in waiting:
                run.turn()
            order.reverse()
        return [run.figures for run in runs if run.figures is not None]


@contextmanager
def _started(checkout: Path) -> Iterator[Run]:
    """A run that is ready for its first turn; it and its data folder are gone at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="scrip-compare-", dir=_place(), ignore_cleanup_errors=True) as folder:
        errors = Path(folder) / "errors"
        child = _spawn(checkout, Path(folder) / "data", errors)
        limit = threading.Timer(RUN_SECONDS, child.kill)
        limit.start()
        try:
            run = Run(checkout, child, errors)
            run.read()
            yield run
        finally:
            limit.cancel()
            _end(child)


def _spawn(checkout: Path, data: Path, errors: Path) -> subprocess.Popen[str]:
    own = checkout / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    with open(errors, "wb") as output:
        return subprocess.Popen(
            [python, "-m", "benchmarks.hot_paths", "--in-turns", "--data-dir", str(data)],
            cwd=checkout,
            env={name: os.environ[name] for name in KEPT if name in os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )


def _end(child: subprocess.Popen[str]) -> None:
    """The end of its input ends a run, with its servers; one that does not end is killed, and the servers with it."""
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()


def _place() -> str | None:
    """Where the data folders are: in memory if there is room, for a shared disk disturbs."""
    roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    return str(MEMORY) if roomy else None
