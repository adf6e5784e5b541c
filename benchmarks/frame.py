"""What a row of the table is, and how rows are measured: limit, figure, limit, figure, and the medians of both.

An absolute figure says little on a machine that others share. So every target is a ratio, to a limit that is measured
in the same minutes: whatever slows the machine down slows both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from statistics import median

import psutil

from benchmarks.databases import Server
from embedded import Servers
from settings import Settings

# A value, or the named parts whose sum is the value.
Measure = Callable[[], float | Mapping[str, float]]
BUSY_SECONDS = 0.3


@dataclass(frozen=True)
class Bench:
    """What a row finds when it prepares itself: the servers, and how large a run is asked for."""

    settings: Settings
    servers: Servers
    quick: bool
    customers: int = 100_000
    # What the tests run is a small share of a quick run.
    share: float = 1.0

    @property
    def server(self) -> Server:
        """The PostgreSQL server, to make databases in."""
        return Server(self.servers.database_url)

    def size(self, quick: int, full: int) -> int:
        """One of the two, for a row that counts in rows or seconds; at least 1."""
        return max(1, round((quick if self.quick else full) * self.share))


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `prepare(bench)` is a context: it makes the data set once and yields a function that measures one short round and
    returns the value in `unit`, or its parts by their names. `limit` is the id of the row that the value is divided by;
    `target` holds for the ratio, or for the value itself where there is no limit. `at_most`: less is better.
    """

    id: str
    group: str
    what: str
    unit: str
    prepare: Callable[[Bench], AbstractContextManager[Measure]]
    limit: str | None = None
    target: float | None = None
    at_most: bool = False


@dataclass
class Result:
    """The rounds of a row, and of its limit beside them, in order."""

    row: Row
    values: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    # How busy others kept the machine just before each round, in percent.
    busy: list[float] = field(default_factory=list)
    # The rounds by their parts; empty for a row whose values have none.
    parts: list[Mapping[str, float]] = field(default_factory=list)

    def add(self, measured: float | Mapping[str, float]) -> float:
        """Keep the value of one more round, and return it."""
        if isinstance(measured, Mapping):
            self.parts.append(measured)
            measured = sum(measured.values())
        self.values.append(measured)
        return measured

    @property
    def value(self) -> float:
        """The median round."""
        return median(self.values)

    @property
    def median_parts(self) -> dict[str, float]:
        """The median of each part, by its name."""
        names = self.parts[0] if self.parts else ()
        return {name: median(parts[name] for parts in self.parts) for name in names}

    @property
    def spread(self) -> float:
        """How far the rounds lie apart: (highest - lowest) / median."""
        return (max(self.values) - min(self.values)) / self.value if self.value else 0.0

    @property
    def limit(self) -> float | None:
        """The median of the limit's rounds that lay beside this row's."""
        return median(self.limits) if self.limits else None

    @property
    def ratio(self) -> float | None:
        """The value in units of the limit."""
        return self.value / self.limit if self.limit else None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None for a row without one."""
        if self.row.target is None:
            return None
        reached = self.value if self.row.limit is None else self.ratio
        assert reached is not None
        return reached <= self.row.target if self.row.at_most else reached >= self.row.target


def select(rows: Sequence[Row], groups: Iterable[str]) -> list[Row]:
    """The rows of these groups (or with these ids) and the limits they need; all of them for no group.

    Raises ValueError for a name that is neither.
    """
    names = set(groups)
    known = {row.group for row in rows} | {row.id for row in rows}
    if names - known:
        unknown = ", ".join(sorted(names - known))
        raise ValueError(f"no benchmark is called {unknown}; there are {', '.join(sorted(known))}")
    chosen = [row for row in rows if not names or names & {row.group, row.id}]
    wanted = {row.id for row in chosen} | {row.limit for row in chosen}
    return [row for row in rows if row.id in wanted]


def measure(rows: Sequence[Row], bench: Bench, rounds: int, tell: Callable[[str], None]) -> list[Result]:
    """Measure the rows, those that share a limit together. `tell` is told what begins."""
    results = {row.id: Result(row) for row in rows}
    for limit, figures in _families(rows):
        with ExitStack() as stack:
            measures = {}
            for row in (limit, *figures) if limit else figures:
                tell(f"{row.id} prepares")
                measures[row.id] = stack.enter_context(row.prepare(bench))
            for name, beside in _turns(limit, figures, rounds):
                tell(name)
                results[name].busy.append(psutil.cpu_percent(interval=BUSY_SECONDS))
                value = results[name].add(measures[name]())
                if beside:
                    results[beside].limits.append(value)
    return list(results.values())


def turns(rows: Sequence[Row], rounds: int) -> int:
    """How often `measure` will call `tell`."""
    return len(rows) + sum(len(list(_turns(limit, figures, rounds))) for limit, figures in _families(rows))


def _families(rows: Sequence[Row]) -> Iterator[tuple[Row | None, list[Row]]]:
    """Each limit with the rows that are held against it; rows without a limit, one by one."""
    by_id = {row.id: row for row in rows}
    limits = dict.fromkeys(row.limit for row in rows if row.limit)
    for name in limits:
        yield by_id[name], [row for row in rows if row.limit == name]
    for row in rows:
        if row.limit is None and row.id not in limits:
            yield None, [row]


def _turns(limit: Row | None, figures: Sequence[Row], rounds: int) -> Iterator[tuple[str, str | None]]:
    """The order of a family's rounds: what is measured, and for a limit the row that it is measured beside."""
    for _ in range(rounds):
        for figure in figures:
            if limit:
                yield limit.id, figure.id
            yield figure.id, None
