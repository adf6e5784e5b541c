"""Shows that the stories notice a rule that is missing: `python -m tests.plans.stories.rules tests.plans.broken_rules`.

The module that is named has a list `BROKEN` of (name of the rule, function that takes a `pytest.MonkeyPatch` and breaks
it). For each of them stories run until one fails; the seconds are printed. Exits with 1 if a rule is not noticed.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import time
from collections.abc import Callable, Sequence

import pytest

from tests.plans.stories.__main__ import servers

Broken = tuple[str, Callable[[pytest.MonkeyPatch], None]]
PATIENCE_SECONDS = 60
ORDERS = 1


def seconds_to_notice(breaks: Callable[[pytest.MonkeyPatch], None], *, seed: int, patience: float) -> float | None:
    """The seconds until a story fails without the rule; None if none fails for so long."""
    from tests.plans.stories import runner

    start, result = time.monotonic(), runner.Result()
    with pytest.MonkeyPatch.context() as patch:
        breaks(patch)
        while time.monotonic() - start < patience:
            if runner.fails(seed, ORDERS, result):
                return time.monotonic() - start
            seed += 1
    return None


def unnoticed(broken: Sequence[Broken], *, seed: int, patience: float = PATIENCE_SECONDS) -> list[str]:
    """The rules whose absence no story notices. Prints a line for each rule."""
    missed = []
    for name, breaks in broken:
        seconds = seconds_to_notice(breaks, seed=seed, patience=patience)
        print(f"{name}: " + (f"{seconds:.1f} s" if seconds is not None else "not noticed"), flush=True)
        missed += [name] if seconds is None else []
    return missed


def main() -> int:
    """Break the rules of the module that is named, one after the other."""
    parser = argparse.ArgumentParser(prog="rules", description=__doc__)
    parser.add_argument("module")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--seconds", type=float, default=PATIENCE_SECONDS)
    parser.add_argument(
        "--only", metavar="TEXT", nargs="+", default=[""], help="the rules with one of these in the name"
    )
    asked = parser.parse_args()
    with servers():
        broken: Sequence[Broken] = [
            rule for rule in importlib.import_module(asked.module).BROKEN if any(text in rule[0] for text in asked.only)
        ]
        return 1 if unnoticed(broken, seed=asked.seed, patience=asked.seconds) else 0


if __name__ == "__main__":
    sys.exit(main())
