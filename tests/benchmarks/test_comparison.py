"""The comparison of two checkouts: that runs take turns, and that only what differs is called a difference."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import comparison
from benchmarks.run_in_turns import RunFailed, run_pair


def figures(seconds: float, *disturbed: float) -> dict[str, dict[str, list[float]]]:
    """A run of one row whose turns are disturbed by these factors."""
    return {"C1": {part: [seconds * factor for factor in disturbed] for part in ("python", "server")}}


@pytest.mark.parametrize(("after", "verdict"), [(1.0, "same"), (1.02, "same"), (1.1, "dearer"), (0.9, "cheaper")])
def test_what_disturbs_both_runs_of_a_pair_is_not_in_their_ratio(after: float, verdict: str) -> None:
    disturbances = [(1.0, 1.0, 2.0), (1.5, 1.0, 3.0), (3.0, 2.9, 2.0), (1.0, 2.0, 1.0)]
    befores = [figures(1.0, *pair) for pair in disturbances]
    afters = [figures(after * own, *pair) for own, pair in zip((0.97, 1.01, 0.99, 1.03), disturbances, strict=True)]
    for line in comparison.compare(befores, afters):
        assert line.ratio == pytest.approx(after)
        assert line.verdict == verdict


def checkout(folder: Path, name: str, program: str) -> Path:
    """A checkout whose run of the hot paths is this program."""
    package = folder / name / "benchmarks" / "hot_paths"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(f"import sys\nfrom pathlib import Path\n{program}")
    return folder / name


TURNS = """
for turn in range(3):
    print("ready", flush=True)
    sys.stdin.readline() or sys.exit()
    open("../order", "a").write(Path.cwd().name)
print('{"K1": {"python": [1.0], "server": [2.0]}}', flush=True)
"""


def test_two_runs_take_turns_and_each_begins_every_other_one(tmp_path: Path) -> None:
    before, after = (checkout(tmp_path, name, TURNS) for name in "ba")
    assert run_pair([before, after]) == [{"K1": {"python": [1.0], "server": [2.0]}}] * 2
    assert (tmp_path / "order").read_text() == "baabba"


def test_a_run_that_fails_ends_the_other_one_and_says_why(tmp_path: Path) -> None:
    started = checkout(tmp_path, "b", f"open('../pid', 'w').write(str(__import__('os').getpid()))\n{TURNS}")
    with pytest.raises(RunFailed, match=r"the run in .*/a ended early\nno such table"):
        run_pair([started, checkout(tmp_path, "a", "sys.exit('no such table')")])
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
