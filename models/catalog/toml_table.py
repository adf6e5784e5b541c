"""Reads a TOML table key by key, so that every problem is reported with its file, key and reason."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from models.catalog.toml_kinds import Kind, mapping

T = TypeVar("T")
D = TypeVar("D")

# Stands in for a refused value while the file is read. It never reaches an App: a file with a problem yields none.
REFUSED: Any = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a file is refused. `key`: a dotted path, empty for the whole file."""

    file: str
    key: str
    reason: str

    def __str__(self) -> str:
        """The problem as one line. Unprintable characters of keys and values are escaped."""
        line = ": ".join(part for part in (self.file, self.key, self.reason) if part)
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


@dataclass(slots=True)
class Table:
    """A table being read: each known key is read once, then `close` refuses the keys that were not read.

    A refused value is added to `problems` and read as REFUSED.
    """

    values: dict[str, Any]
    problems: list[Problem]
    file: str
    path: str = ""
    _known: list[str] = field(default_factory=list, init=False)
    _refused: set[str] = field(default_factory=set, init=False)

    def required(self, key: str, kind: Kind[T]) -> T:
        """The value of `key`. A missing key is a problem."""
        if key not in self.values:
            self._known.append(key)
            self.refuse(key, "is missing")
            return cast(T, REFUSED)
        return self._read(key, kind)

    def optional(self, key: str, kind: Kind[T], default: D) -> T | D:
        """The value of `key`, or `default` if it is absent."""
        if key not in self.values:
            self._known.append(key)
            return default
        return self._read(key, kind)

    def table(self, key: str) -> "Table":
        """The table under `key`; an empty one if it is absent or not a table."""
        values = self.optional(key, mapping, {}) or {}
        return Table(values, self.problems, self.file, self._at(key))

    def tables(self, key: str, name: Kind[str]) -> Iterator[tuple[str, "Table"]]:
        """(name, table) for each valid table under `key`, such as packs.starter and packs.pro."""
        parent = self.table(key)
        for child in parent.values:
            try:
                name(child)
            except ValueError as refusal:
                parent.refuse(child, str(refusal))
            table = parent.table(child)
            if parent.sound(child):
                yield child, table

    def sound(self, *keys: str) -> bool:
        """Whether none of `keys` was refused, so that rules between them can be checked."""
        return self._refused.isdisjoint(keys)

    def refuse(self, key: str, reason: str) -> None:
        """Add a problem with the value of `key`. "" stands for the table itself."""
        self._refused.add(key)
        self.problems.append(Problem(self.file, self._at(key), reason))

    def close(self) -> None:
        """Refuse every key that was not read, and suggest the known key that is closest."""
        for key in self.values:
            if key in self._known:
                continue
            guess = difflib.get_close_matches(key, self._known, n=1)
            self.refuse(key, f'is not a known key; did you mean "{guess[0]}"?' if guess else "is not a known key")

    def _read(self, key: str, kind: Kind[T]) -> T:
        self._known.append(key)
        try:
            return kind(self.values[key])
        except ValueError as refusal:
            self.refuse(key, str(refusal))
            return cast(T, REFUSED)

    def _at(self, key: str) -> str:
        return ".".join(part for part in (self.path, key) if part)
