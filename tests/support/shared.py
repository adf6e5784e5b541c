"""Which tests share a running Scrip, and in which order all tests run.

A running Scrip takes seconds to start, and a quarter of a processor while it waits for work. So the tests that share
one come one after the other in one test process, and it is stopped after the last of them. They come first, beside the
files that take longest: what is short fills the gaps at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.running import Running

# The fixtures that are a running Scrip, and then files; what takes longest first. Others follow in any order.
LONGEST = ("system", "stories", "rough")
SCRIPS = ("system", "stories", "rough")

_running: dict[str, Running] = {}


@contextmanager
def keep(name: str, instance: Running) -> Iterator[Running]:
    """A Scrip that runs until the end of the block, or until `stop_unless_used`."""
    try:
        _running[name] = instance.start()
        yield instance
    finally:
        _running.pop(name, None)
        instance.close()


def mark_groups(items: list[pytest.Item]) -> None:
    """Give every test the group that `--dist loadgroup` runs in one process."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def sort(items: list[pytest.Item]) -> None:
    """Sort the tests: the longest groups first, then group by group, in the order in which each group first appears."""
    seen = {name: number for number, name in enumerate(LONGEST)}
    for item in items:
        seen.setdefault(_group(item), len(seen))
    items.sort(key=lambda item: seen[_group(item)])


def stop_unless_used(upcoming: pytest.Item | None) -> None:
    """Stop what runs, unless the upcoming test uses it."""
    for name in [name for name in _running if upcoming is None or _group(upcoming) != name]:
        _running.pop(name).close()


def _group(item: pytest.Item) -> str:
    """The Scrip that the test uses, else its file."""
    used = getattr(item, "fixturenames", ())
    return next((name for name in SCRIPS if name in used), item.nodeid.partition("@")[0].partition("::")[0])
