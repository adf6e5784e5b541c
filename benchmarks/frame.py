"""The rows of the table and their measurement: limit and figure in alternating rounds, and the medians of both.

An absolute figure means little on a shared machine. Every target is therefore a ratio to a limit measured in the
same minutes, because load slows down both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from statistics import median

import psutil

from benchmarks.databases import Server
from runtime.embedded import Servers
from settings import Settings

# A value, or the named parts whose sum is the value.
Measure = Callable[[], float | Mapping[str, float]]
BUSY_SECONDS = 0.3


@dataclass(frozen=True)
class Bench:
    """The environment of a row: the servers and the size of the run."""

    settings: Settings
    servers: Servers
    quick: bool
    customers: int = 100_000
    # Tests run a small share of a quick run.
    share: float = 1.0

    @property
    def server(self) -> Server:
        """The PostgreSQL server, for creating databases."""
        return Server(self.servers.database_url)

    def size(self, quick: int, full: int) -> int:
        """`quick` or `full` rows or seconds, depending on the run; at least 1."""
        return max(1, round((quick if self.quick else full) * self.share))


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `prepare(bench)` is a context manager: it creates the data set once and yields a function that measures one short
    round and returns the value in `unit`, or its named parts. `limit` is the id of the row that the value is divided
    by. `target` applies to the ratio, or to the value itself without a limit. `at_most`: lower is better.
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
    """The rounds of a row and of its limit, in order."""

    row: Row
    values: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    # CPU load of other processes just before each round, in percent.
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
        """The relative spread of the rounds: (highest - lowest) / median."""
        return (max(self.values) - min(self.values)) / self.value if self.value else 0.0

    @property
    def limit(self) -> float | None:
        """The median of the limit's rounds that were measured with this row."""
        return median(self.limits) if self.limits else None

    @property
    def ratio(self) -> float | None:
        """The value in units of the limit."""
        return self.value / self.limit if self.limit else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None for a row without a target."""
        if self.row.target is None:
            return None
        reached = self.value if self.row.limit is None else self.ratio
        assert reached is not None
        return reached <= self.row.target if self.row.at_most else reached >= self.row.target


def select(rows: Sequence[Row], groups: Iterable[str]) -> list[Row]:
    """The rows of these groups (or with these ids) and their limits; all rows without groups.

    Raises ValueError for an unknown name.
    """
    names = set(groups)
    known = {row.group for row in rows} | {row.id for row in rows}
    if names - known:
        unknown = ", ".join(sorted(names - known))
        raise ValueError(f"unknown benchmark {unknown}; known: {', '.join(sorted(known))}")
    chosen = [row for row in rows if not names or names & {row.group, row.id}]
    ids = {row.id for row in chosen} | {row.limit for row in chosen}
    return [row for row in rows if row.id in ids]


def measure(rows: Sequence[Row], bench: Bench, rounds: int, on_step: Callable[[str], None]) -> list[Result]:
    """Measure the rows; rows with the same limit together. `on_step` receives the name of each step at its start."""
    results = {row.id: Result(row) for row in rows}
    for limit, figures in _families(rows):
        with ExitStack() as stack:
            measures = {}
            for row in (limit, *figures) if limit else figures:
                on_step(f"{row.id} prepares")
                measures[row.id] = stack.enter_context(row.prepare(bench))
            for name, beside in _turns(limit, figures, rounds):
                on_step(name)
                results[name].busy.append(psutil.cpu_percent(interval=BUSY_SECONDS))
                value = results[name].add(measures[name]())
                if beside:
                    results[beside].limits.append(value)
    return list(results.values())


def turns(rows: Sequence[Row], rounds: int) -> int:
    """The number of `on_step` calls of `measure`."""
    return len(rows) + sum(len(list(_turns(limit, figures, rounds))) for limit, figures in _families(rows))


def _families(rows: Sequence[Row]) -> Iterator[tuple[Row | None, list[Row]]]:
    """Each limit with the rows that are compared with it; rows without a limit one by one."""
    by_id = {row.id: row for row in rows}
    limits = dict.fromkeys(row.limit for row in rows if row.limit)
    for name in limits:
        yield by_id[name], [row for row in rows if row.limit == name]
    for row in rows:
        if row.limit is None and row.id not in limits:
            yield None, [row]


def _turns(limit: Row | None, figures: Sequence[Row], rounds: int) -> Iterator[tuple[str, str | None]]:
    """The rounds of a family, in order: the id of the row, and for a limit the id of the row it is measured for."""
    for _ in range(rounds):
        for figure in figures:
            if limit:
                yield limit.id, figure.id
            yield figure.id, None
