"""Reading a TOML table key by key, so that every problem is found and named by file, key and reason."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from models.catalog.toml_kinds import Kind, mapping

T = TypeVar("T")
D = TypeVar("D")

# What the reader gets in place of a refused value. No user ever does: a file with a problem yields no app.
REFUSED: Any = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a file is refused; `key` is a dotted path, empty where the whole file is meant."""

    file: str
    key: str
    reason: str

    def __str__(self) -> str:
        """One line, whatever the file has in its keys and values."""
        line = ": ".join(part for part in (self.file, self.key, self.reason) if part)
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


@dataclass(slots=True)
class Table:
    """A table that is being read: each key is asked for once, `close` refuses those nobody asked for.

    What is refused goes to `problems`, and the reader gets REFUSED in its place.
    """

    values: dict[str, Any]
    problems: list[Problem]
    file: str
    path: str = ""
    _asked: list[str] = field(default_factory=list, init=False)
    _refused: set[str] = field(default_factory=set, init=False)

    def required(self, key: str, kind: Kind[T]) -> T:
        """The value of `key`, refused where it is missing."""
        if key not in self.values:
            self._asked.append(key)
            self.refuse(key, "is missing")
            return cast(T, REFUSED)
        return self._read(key, kind)

    def optional(self, key: str, kind: Kind[T], default: D) -> T | D:
        """The value of `key`, or `default` where it is absent."""
        if key not in self.values:
            self._asked.append(key)
            return default
        return self._read(key, kind)

    def table(self, key: str) -> "Table":
        """The table under `key`; an empty one where it is absent or no table."""
        values = self.optional(key, mapping, {}) or {}
        return Table(values, self.problems, self.file, self._at(key))

    def tables(self, key: str, name: Kind[str]) -> Iterator[tuple[str, "Table"]]:
        """Each named table under `key`: packs.starter, packs.pro."""
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
        """Whether none of `keys` was refused, so that they can be judged together."""
        return self._refused.isdisjoint(keys)

    def refuse(self, key: str, reason: str) -> None:
        """Record that the value of `key` cannot stand; "" means the table itself."""
        self._refused.add(key)
        self.problems.append(Problem(self.file, self._at(key), reason))

    def close(self) -> None:
        """Refuse every key that nobody asked for, with the name it was probably meant to have."""
        for key in self.values:
            if key in self._asked:
                continue
            guess = difflib.get_close_matches(key, self._asked, n=1)
            self.refuse(key, f'is not known; did you mean "{guess[0]}"?' if guess else "is not known")

    def _read(self, key: str, kind: Kind[T]) -> T:
        self._asked.append(key)
        try:
            return kind(self.values[key])
        except ValueError as refusal:
            self.refuse(key, str(refusal))
            return cast(T, REFUSED)

    def _at(self, key: str) -> str:
        return ".".join(part for part in (self.path, key) if part)
