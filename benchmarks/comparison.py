"""The figures of two checkouts, run in turns: medians, their ratio, and whether they differ by more than they vary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from rich.box import SIMPLE
from rich.table import Table

from benchmarks.run_in_turns import Figures

MICROSECONDS = 1e6
PARTS = ("python", "server")
UNITS = {"K1": "deduction", "P1": "usage report", "C1": "pack event", "C2": "session start"}


@dataclass(frozen=True)
class Comparison:
    """One part of one row.

    `before` and `after` are the CPU seconds of one unit in each run, `ratios` how the runs of each pair relate.
    """

    row: str
    part: str
    before: Sequence[float]
    after: Sequence[float]
    ratios: Sequence[float]

    @property
    def ratio(self) -> float:
        """The median of the pairs: after by before."""
        return median(self.ratios)

    @property
    def verdict(self) -> str:
        """`dearer` or `cheaper` where the ratio is further from 1 than the middle half of the pairs is wide."""
        if abs(self.ratio - 1) <= spread(self.ratios):
            return "same"
        return "dearer" if self.ratio > 1 else "cheaper"


def spread(values: Sequence[float]) -> float:
    """How wide the middle half of the values is: (upper quartile - lower quartile) / median."""
    lower, _, upper = quantiles(values, n=4, method="inclusive")
    return (upper - lower) / median(values)


def compare(before: Sequence[Figures], after: Sequence[Figures]) -> list[Comparison]:
    """Both parts of each row; the runs of a pair are at the same place."""
    return [_comparison(row, part, before, after) for row in before[0] for part in PARTS]


def _comparison(row: str, part: str, before: Sequence[Figures], after: Sequence[Figures]) -> Comparison:
    pieces_before, pieces_after = ([run[row][part] for run in runs] for runs in (before, after))
    return Comparison(
        row,
        part,
        [median(pieces) for pieces in pieces_before],
        [median(pieces) for pieces in pieces_after],
        [_ratio(*pair) for pair in zip(pieces_before, pieces_after, strict=True)],
    )


def _ratio(before: Sequence[float], after: Sequence[float]) -> float:
    """The median of the turns: what disturbs a turn is in both of its pieces, so that their ratio stays."""
    return median(later / earlier for earlier, later in zip(before, after, strict=False))


def table(comparisons: Iterable[Comparison]) -> Table:
    """A line for each part of each row."""
    shown = Table(title="CPU time in µs, with the spread of the runs", box=SIMPLE)
    for name in ("of one", "part"):
        shown.add_column(name)
    for name in ("before", "after", "ratio"):
        shown.add_column(name, justify="right")
    shown.add_column("beyond its spread")
    for line in comparisons:
        shown.add_row(*_cells(line))
    return shown


def _cells(line: Comparison) -> tuple[str, ...]:
    return (
        f"{line.row} {UNITS.get(line.row, '')}",
        line.part,
        _micro(line.before),
        _micro(line.after),
        f"{line.ratio:.3f} ± {spread(line.ratios):.1%}",
        {"same": "no", "dearer": "[red]yes, dearer[/]", "cheaper": "[green]yes, cheaper[/]"}[line.verdict],
    )


def _micro(seconds: Sequence[float]) -> str:
    return f"{median(seconds) * MICROSECONDS:,.4g} ± {spread(seconds):.0%}"
