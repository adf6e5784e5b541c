"""Which tests share a running Scrip, in which order all tests run, and in which of the test processes.

A running Scrip takes seconds to start, and a quarter of a processor while it waits for work. The tests that share one
therefore follow each other in one test process, which stops it after the last of them. They come first, with the files
that take longest: short files fill the gaps at the end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from tests.support.running import Running

# The fixtures that are a running Scrip.
SCRIPS = ("system", "stories", "rough")
# Groups of tests: those of a running Scrip, or a file. The longest come first, all others in any order.
LONGEST = (
    *SCRIPS,
    "tests/system/browser/test_sandbox_purchase.py",
    "tests/web/test_schema.py",
    "tests/payments/test_reversals.py",
    "tests/properties/test_planning.py",
    "tests/properties/test_kernel.py",
    "tests/plans/test_stories.py",
    "tests/plans/test_reversals.py",
)
# Test processes note here which tests belong to such a fixture, for the process that hands tests out.
NOTE = "SCRIP_TEST_GROUPS"

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


def stop_unless_used(upcoming: pytest.Item | None) -> None:
    """Stop what runs, unless the upcoming test uses it."""
    for name in [name for name in _running if upcoming is None or group_of(upcoming) != name]:
        _running.pop(name).close()


def arrange(items: list[pytest.Item]) -> None:
    """Sort the tests, the longest groups first, and note the groups."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(group_of(item), len(order)))
    if note := os.environ.get(NOTE):
        fresh = Path(f"{note}.{os.getpid()}")
        fresh.write_text(json.dumps({item.nodeid: group_of(item) for item in items if group_of(item) in SCRIPS}))
        fresh.replace(note)


def group_of(item: pytest.Item) -> str:
    """The Scrip that the test uses, else its file."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    used = set(getattr(item, "fixturenames", ())) - set(parameters)
    return next((name for name in SCRIPS if name in used), item.nodeid.partition("::")[0])


class Scheduler(LoadScopeScheduling):
    """Hands whole groups out, in the order of the tests. (With `--dist loadgroup`, pytest-xdist 3.8 writes the group
    into the name of a test; pytest 9.2 does not let it.)
    """

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.config.option.loadscopereorder = False
        self._noted: dict[str, str] | None = None

    def _split_scope(self, nodeid: str) -> str:
        if self._noted is None:
            self._noted = json.loads(Path(os.environ[NOTE]).read_text())
        return self._noted.get(nodeid, nodeid.partition("::")[0])
